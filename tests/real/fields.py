"""An HTTP server for forwarded.rs: answers with the fields of the request, as they came, a line each.

    fields.py HOST PORT
"""

import http.server
import sys


class Fields(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = "".join(f"{name}: {value}\n" for name, value in self.headers.items()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


host, port = sys.argv[1:]
http.server.ThreadingHTTPServer((host, int(port)), Fields).serve_forever()
