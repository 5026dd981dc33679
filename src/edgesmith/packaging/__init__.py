"""What users take home: packages of artifacts, and what build systems need to find their libraries."""

from edgesmith.packaging.form import FORMS, PACKAGES, Form, check_target, checked_forms, checked_version, form, pack
from edgesmith.packaging.libraries import library_files

__all__ = [
    "FORMS",
    "PACKAGES",
    "Form",
    "check_target",
    "checked_forms",
    "checked_version",
    "form",
    "library_files",
    "pack",
]
