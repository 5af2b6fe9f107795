"""High availability: the lease on the shared directory and its epoch (spine: lease and failover)."""
