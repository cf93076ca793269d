import threading
import warnings

from imaging.dicom.attributes import typed_errors


def test_no_thread_brings_the_warnings_back_while_another_still_reads():
    """A warning of pydicom quotes the value that it is about."""
    inside, left = threading.Event(), threading.Event()

    def other() -> None:
        with typed_errors("an object"):
            inside.set()
            left.wait(10)
            warnings.warn("Doe^John", stacklevel=1)

    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        thread = threading.Thread(target=other)
        with typed_errors("an object"):
            thread.start()
            inside.wait(10)
        left.set()
        thread.join()
        assert not heard
        warnings.warn("heard again", stacklevel=1)
        assert [str(one.message) for one in heard] == ["heard again"]
