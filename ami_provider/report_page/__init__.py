"""The report on one AMI: what it says (`facts`), as one HTML page that needs nothing else."""
