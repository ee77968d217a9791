"""Elasticsearch on this machine: servers that Facedex brings, starts, watches and stops."""
