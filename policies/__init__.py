"""Four IAM policy documents: who runs `pulumi`, who previews, the builder, the Batch machines."""
