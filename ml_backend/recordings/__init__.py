"""From a video, a picture folder or a Label Studio address to pixels."""

from ml_backend.recordings.addresses import SERVER, is_url, task_image_url, wherever_it_is
from ml_backend.recordings.cache import PictureCache
from ml_backend.recordings.connections import certificate_problem, proxy_for, trusted
from ml_backend.recordings.credentials import Credentials, clean_token
from ml_backend.recordings.decoding import DecodingProcess, decoding_process
from ml_backend.recordings.extract import extract_frame, extract_frames, write_picture
from ml_backend.recordings.fetch import Fetcher, Timeouts
from ml_backend.recordings.hosts import AllowedHosts
from ml_backend.recordings.paths import frame_path
from ml_backend.recordings.picture_errors import FetchError, ForbiddenAddressError, UnavailableImageError, UnreadableImageError
from ml_backend.recordings.pictures import Limits, browsers_show, decode_picture, limits_of
from ml_backend.recordings.reading import iter_images, read_image
from ml_backend.recordings.recording import Recording, open_recording
from ml_backend.recordings.sizes import SizeFix, reconcile_size
from ml_backend.recordings.sources import SourceInfo, probe
from ml_backend.recordings.transform import ViewTransform

__all__ = [
    "SERVER",
    "AllowedHosts",
    "Credentials",
    "DecodingProcess",
    "FetchError",
    "Fetcher",
    "ForbiddenAddressError",
    "Limits",
    "PictureCache",
    "Recording",
    "SizeFix",
    "SourceInfo",
    "Timeouts",
    "UnavailableImageError",
    "UnreadableImageError",
    "ViewTransform",
    "browsers_show",
    "certificate_problem",
    "clean_token",
    "decode_picture",
    "decoding_process",
    "extract_frame",
    "extract_frames",
    "frame_path",
    "is_url",
    "iter_images",
    "limits_of",
    "open_recording",
    "probe",
    "proxy_for",
    "read_image",
    "reconcile_size",
    "task_image_url",
    "trusted",
    "wherever_it_is",
    "write_picture",
]
