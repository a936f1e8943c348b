"""Who probes a URL scheme."""
