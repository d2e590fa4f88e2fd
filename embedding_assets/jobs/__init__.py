"""Jobs beside the asset graph, each from a factory that is called once a database: thin, the work is elsewhere."""
