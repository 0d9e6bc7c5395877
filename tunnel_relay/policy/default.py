"""The policy a new relay starts with; meant to be read and changed by its admin."""

_TEXT = """\
# What agents may do through this relay.
#
# A session is needed in any case: it says which user, agent and server belong together.
# This file narrows what sessions open. The client at the private side decides again, from a file
# of its own, and this one cannot overrule it.
# deny beats require_approval beats allow; the order of the rules does not matter.
# After a change:  tunnel-relay policy check
#                  tunnel-relay policy test --user USER --agent AGENT
version: 1
default: deny

rules:
  # Whatever a session opens. To narrow it, add rules that deny, or replace this one.
  - id: what-sessions-open
    match: {method: "*"}
    effect: allow

  # - id: nobody-administers-from-outside
  #   match: {class: [admin, break_glass]}
  #   effect: deny

  # - id: contractors-only-read
  #   match: {group: contractors, class: [draft, write, external_send, admin, break_glass]}
  #   effect: deny

  # A server is an upstream's name, or tunnel/upstream where two tunnels have the same.
  # - id: refunds-need-finance
  #   match: {server: "shop/billing", tool: "refund_*"}
  #   effect: require_approval
  #   approvers: {group: [finance], ttl: 15m}
"""


def default_policy() -> str:
    """Return the text of the policy that `policy init` writes."""
    return _TEXT
