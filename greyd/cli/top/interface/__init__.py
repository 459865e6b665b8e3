"""The interactive screens of ``greyd top``. Only these modules import Textual."""
