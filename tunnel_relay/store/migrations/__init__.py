"""How the tables came to be, one step a file; run by `tunnel_relay.store.schema`."""
