"""The policy a new client starts with; meant to be read and changed by its operator."""

_TEXT = """\
# What agents may do with the private servers behind this client.
#
# Nothing is allowed unless a rule here says so, and the relay cannot override it.
# deny beats require_approval beats allow; the order of the rules does not matter.
# After a change:  tunnel-client policy check
#                  tunnel-client policy test --user USER --agent AGENT
# A running client takes a good file by itself within seconds, and keeps the old one otherwise.
version: 1
default: deny

rules:
  # Looking, and preparing what somebody else still has to send.
  - id: read-and-draft
    match: {class: [read, draft]}
    effect: allow

  # Changing, sending out and administering: a person of the group "approvers" says yes first.
  - id: changes-need-approval
    match: {class: [write, external_send, admin]}
    effect: require_approval
    approvers: {group: [approvers], count: 1, not_requester: true, ttl: 15m}

  # Emergencies: nobody, until you write a rule of your own and take this one out.
  - id: no-break-glass
    match: {class: break_glass}
    effect: deny

  # Prompts and resources are read only. Narrow them with prompt:, resource: or server:.
  - id: prompts-and-resources
    match: {method: ["prompts/get", "resources/*", "completion/complete", "subscriptions/listen"]}
    effect: allow

  # A server must not borrow the agent's model, question its user or see its folders.
  - id: servers-ask-nothing
    match: {method: ["sampling/createMessage", "elicitation/create", "roots/list"]}
    effect: deny

  # An example: tools whose name ends in _delete are denied to everybody but the group "ops".
  # - id: no-delete
  #   match: {tool: "*_delete"}
  #   when: '!("ops" in groups)'
  #   effect: deny
"""


def default_policy() -> str:
    """Return the text of the policy that `policy init` writes."""
    return _TEXT
