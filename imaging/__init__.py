"""The core of recontour: DICOM in and out, geometry, alignment, inference, contours, plausibility.

Nothing here knows the web or torch. Start reading at `imaging/recontour.py`.
"""
