"""NTFS volumes, the drivers that mount them, and the judgement on what a driver made of a volume."""
