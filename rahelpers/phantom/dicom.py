"""A phantom film as a DICOM file, to try viewers, converters and the panel without patient data."""

from __future__ import annotations

import datetime
import io

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import DigitalXRayImageStorageForPresentation, ExplicitVRLittleEndian, generate_uid

from rahelpers import __version__
from rahelpers.phantom.film import PhantomFilm
from rahelpers.phantom.patient import Patient

BITS = 12
# Nobody in the phantom was ever born: the date is a placeholder for the whole cohort, and the same
# film has the same UIDs every time.
STUDY_DATE = datetime.date(2000, 1, 1)


def _code(value: str, meaning: str) -> Dataset:
    """An item of a code sequence, SNOMED CT."""
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, "SCT", meaning
    return item


def make_dicom(film: PhantomFilm, patient: Patient, photometric: str = "MONOCHROME2") -> bytes:
    """Write a film as a Digital X-Ray Image for presentation (DICOM PS3.3, A.26).

    12 bits in 16, explicit little endian.

    Parameters
    ----------
    film : PhantomFilm
    patient : Patient
        Its number becomes the patient's id; the file holds nobody's name or date of birth.
    photometric : {'MONOCHROME2', 'MONOCHROME1'}
        Bone bright, or stored inverted as many detectors do.

    Returns
    -------
    bytes
        The content of a .dcm file.

    Raises
    ------
    ValueError
        If `photometric` is neither of the two.

    Examples
    --------
    >>> from rahelpers import phantom, read_radiograph
    >>> patient = phantom.make_patient(7, 0)
    >>> data = phantom.make_dicom(phantom.render(patient, "R", 64), patient)
    >>> film = read_radiograph(data)
    >>> film.provenance.format, film.laterality, film.image.shape
    ('DICOM', 'R', (64, 64))
    """
    if photometric not in ("MONOCHROME1", "MONOCHROME2"):
        raise ValueError(f"photometric={photometric!r}: expected 'MONOCHROME1' or 'MONOCHROME2'")
    pixels = np.rint(film.image * (2**BITS - 1)).astype(np.uint16)
    inverted = photometric == "MONOCHROME1"
    if inverted:
        pixels = (2**BITS - 1 - pixels).astype(np.uint16)
    # identifiers that depend only on the film
    number = patient.patient_id
    size = str(film.image.shape[0])
    unique = [str(patient.seed), number, film.laterality, size, photometric]
    study, series, instance = (
        generate_uid(entropy_srcs=[kind, *unique]) for kind in ("study", "series", "instance")
    )
    # the file, the study and the person
    kind = DigitalXRayImageStorageForPresentation
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = kind, instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    data.SOPClassUID, data.SOPInstanceUID = kind, instance
    data.StudyInstanceUID, data.SeriesInstanceUID = study, series
    data.PatientName, data.PatientID, data.PatientBirthDate = "Phantom^" + number, number, ""
    data.PatientSex, data.PatientAge = patient.sex, f"{int(patient.age):03d}Y"
    date, time = STUDY_DATE.strftime("%Y%m%d"), "120000"
    data.StudyDate = data.SeriesDate = data.AcquisitionDate = data.ContentDate = date
    data.StudyTime = data.SeriesTime = data.AcquisitionTime = data.ContentTime = time
    data.StudyID, data.SeriesNumber, data.AccessionNumber = "1", 1, ""
    data.InstanceNumber = 1 + "LR".index(film.laterality)
    data.ReferringPhysicianName, data.PatientOrientation = "", ["L", "F"]
    # what is seen, and how it was made
    data.Modality, data.PresentationIntentType = "DX", "FOR PRESENTATION"
    data.Manufacturer, data.ManufacturerModelName = "RA hand workbench", "phantom"
    data.SoftwareVersions, data.SeriesDescription = __version__, "Drawn hand, not a person"
    data.BodyPartExamined, data.ViewPosition, data.ImageLaterality = "HAND", "PA", film.laterality
    data.AnatomicRegionSequence = [_code("85562004", "Hand")]
    data.ViewCodeSequence = [_code("272479007", "Postero-anterior")]
    data.ViewCodeSequence[0].ViewModifierCodeSequence = []
    data.PositionerType, data.AcquisitionContextSequence = "", []
    data.ImageType, data.BurnedInAnnotation = ["DERIVED", "PRIMARY"], "YES"
    data.DerivationDescription = "Computed from a model of the hand"
    data.KVP, data.DetectorType = 50, "DIRECT"
    # the pixels, and how to show them
    data.PixelIntensityRelationship = "LOG"
    data.PixelIntensityRelationshipSign = -1 if inverted else 1
    data.RescaleIntercept, data.RescaleSlope, data.RescaleType = 0, 1, "US"
    data.PresentationLUTShape = "INVERSE" if inverted else "IDENTITY"
    data.LossyImageCompression = "00"
    data.ImagerPixelSpacing = [round(film.spacing_mm, 6)] * 2
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, photometric
    data.PixelRepresentation = 0
    data.BitsAllocated, data.BitsStored, data.HighBit = 16, BITS, BITS - 1
    data.Rows, data.Columns = pixels.shape
    data.WindowCenter, data.WindowWidth = 2 ** (BITS - 1), 2**BITS
    data.PixelData = pixels.tobytes()
    target = io.BytesIO()
    data.save_as(target, enforce_file_format=True)
    return target.getvalue()
