"""IRS: image recognition as a service on AWS primitives."""

__version__ = "0.1.0"
