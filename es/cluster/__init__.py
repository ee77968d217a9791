"""Several nodes: started, watched and stopped, through a Docker engine or as processes of this machine."""
