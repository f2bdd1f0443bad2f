"""A user's images, disks and archives of them: which NTFS volumes they hold, and each as a file of its own.

Formats of images are converted, partition tables are read by the lab itself, and nothing of the user's is ever written.
"""
