"""The lines of `tunnel-relay doctor`: small checks in a table, and what is judged of them."""
