"""Rows that we keep, as types. Written by workers, read by everything else."""
