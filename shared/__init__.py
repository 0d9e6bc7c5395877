"""What both ends must agree on, byte for byte.

A module belongs here when both programs use it today, two versions of it would make the link
misbehave or let two security primitives drift, and it reads no file, environment, settings or
clock. The reason of each:

- errors: reset and close codes travel on the wire
- ids: names and tokens are checked at both ends
- keys: both ends sign and verify the same transcript
- version: negotiated in the handshake
- backoff: the pace of trying again, one figure for clients and for nodes
- jsonrpc: both ends must see one meaning in one body
- policy: both ends judge one call by one set of rules
- grant: the relay signs what the client verifies and judges by
- passkey: the relay takes what the client verifies, and both name keys alike
- permit: the relay makes what the client verifies, and both digest the same arguments
- record: what both ends write down is read, verified and matched by one reader
- audit: the log of either end, in files; it is given its folder, and reads the clock (see docs/adr)
- wire: the frames and machines themselves
- link: the driver that moves them
- repeated: both ends frame HTTP messages by it, and two framings are a smuggled request
- few: a refused agent must fill the disk at neither end
- escape: what somebody else wrote is shown by both programs, and neither may be fooled by it
- audit: the two logs are matched and verified by one tool; it reads its own folder and the clock
- audit_cli: the commands that read and match those logs; an auditor learns them once
- checkup: both doctors run and show their lines alike; it is given its clock
- notify: both units speak of one life to one manager; it is given the address
- hangup: one signal asks both programs to read again, and ends neither while it starts or stops
- standard: both programs start with the same three files open, and say alike that one is full
- diag: one archive and one redaction for whoever helps; it is given folder and time
- tasklist: both daemons tell alike where their tasks wait
- configfile: one config error looks the same in both programs (see docs/adr)
"""
