"""The embedded cloud: an AWS emulator, and EC2 instances that are processes of this machine."""
