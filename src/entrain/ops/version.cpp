int entrain_ops_version() { return 1; }
