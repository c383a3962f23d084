"""Procedural phantom. Not clinical data.

Draws lumbar spine radiographs from geometry and a simple model of X-ray imaging, and writes them as DICOM files
in the layout of VinDr-SpineXR, so that every tool can be tried without a patient's image.

    anatomy    a spine's sizes and angles        lesions   the seven findings
    lateral, frontal   the two views as shapes   drawing   shapes, layers, findings
    render     shapes -> attenuation             film      attenuation -> radiograph
    phantom    one radiograph with its boxes     dicom_files, dataset   the files
"""

from .dataset import make_phantom_dataset
from .phantom import Patient, Phantom, draw_patient, draw_phantom, make_patient

__all__ = ["Patient", "Phantom", "draw_patient", "draw_phantom", "make_patient", "make_phantom_dataset"]
