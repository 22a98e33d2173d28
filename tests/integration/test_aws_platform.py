"""Terraform and its AWS provider for real, EC2 on loopback."""
