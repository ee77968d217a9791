"""Everything that speaks Elasticsearch: the connection, the embedded node, collections."""
