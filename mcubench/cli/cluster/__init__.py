"""One fit of many, on a worker of Dask's, which is known in `client` and `worker` alone."""
