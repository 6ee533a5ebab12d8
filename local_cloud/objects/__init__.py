"""S3 objects' bytes: on disk and streamed, beside moto, which keeps all else about them."""
