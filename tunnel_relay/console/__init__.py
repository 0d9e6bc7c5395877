"""The web console: pages for auditors, approvers and admins, over the same commands as the API."""
