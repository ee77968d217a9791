"""What Kibana shows of Facedex: data views, saved searches and a dashboard, as code."""
