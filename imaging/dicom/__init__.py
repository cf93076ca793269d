"""DICOM bytes to and from the types of `imaging`; the only part of the core that knows pydicom."""
