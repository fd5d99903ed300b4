"""What goes wrong, in plain words, and with what a program needs to know of it."""

from tornado import web

MEANING = {
    400: "This request cannot be read.",
    403: "This needs a token whose role may do it. Open the address that mltrainer serve printed, or sign in.",
    404: "There is nothing at this address.",
    405: "This address does not take that kind of request.",
    413: "This is too large; 64 KiB are the most.",
    415: "Send one JSON object, with Content-Type: application/json.",
    422: "This cannot be done with the data there is.",
    429: "Too many wrong tokens came from your address. Wait a minute.",
    502: "A provider of data failed; ask again later.",
    503: "All seats are taken. Close a dashboard that is not needed, or come back in a few minutes.",
}


class Fault(web.HTTPError):
    """An error that says what it is.

    Parameters
    ----------
    status : of HTTP.
    message : for people; empty for the usual words.
    code : for programs.
    headers : which go with it.
    """

    def __init__(self, status: int, message: str = "", code: str = "", **headers: str) -> None:
        super().__init__(status)
        self.message, self.code = message, code
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}
