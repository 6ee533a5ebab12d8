"""Three IAM policy documents: for who runs `pulumi`, for the builder, for the Batch machines."""
