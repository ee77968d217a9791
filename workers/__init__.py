"""Who looks at photos: one pure function from a photo to its faces, in this process, in worker processes, on a Dask cluster."""
