"""An S3 server for the tests of archives: moto's, as a process of its own, with a bucket and a user who may use it."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

STARTS_WITHIN = 60  # seconds
BUCKET = "archive"

# What boto3 does here, it does in a process of its own, as fastzero has it: it would stay in this one.
_PREPARE = """
import json, sys, time, urllib.request, boto3
endpoint, bucket, patience = sys.argv[1:]
deadline = time.monotonic() + float(patience)
while True:
    try:
        urllib.request.urlopen(f"{endpoint}/moto-api/").close()
        break
    except OSError:
        if time.monotonic() > deadline: raise
        time.sleep(0.1)
options = dict(endpoint_url=endpoint, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")
boto3.client("s3", **options).create_bucket(Bucket=bucket)
iam = boto3.client("iam", **options)
iam.create_user(UserName="ana")
allowed = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
iam.put_user_policy(UserName="ana", PolicyName="s3", PolicyDocument=json.dumps(allowed))
print(json.dumps(iam.create_access_key(UserName="ana")["AccessKey"], default=str))
plain = {"Content-Type": "text/plain"}  # from now on credentials count
reset = urllib.request.Request(f"{endpoint}/moto-api/reset-auth", data=b"0", headers=plain, method="POST")
urllib.request.urlopen(reset).close()
"""
_REMOVE = """
import sys, boto3
endpoint, bucket, *keys = sys.argv[1:]
client = boto3.client("s3", endpoint_url=endpoint)
for key in keys:
    client.delete_object(Bucket=bucket, Key=key)
"""


@dataclass(frozen=True)
class S3:
    """A server with a bucket. It refuses whoever does not have these credentials.

    `inside` is the command that runs another one where the server can be reached.
    """

    endpoint: str
    key: str
    secret: str
    process: "subprocess.Popen[bytes]"
    inside: tuple[str, ...] = ()

    @property
    def credentials(self) -> str:
        return f"[default]\naws_access_key_id = {self.key}\naws_secret_access_key = {self.secret}\nregion = us-east-1\n"

    def stop(self) -> None:
        """End the server, so that it cannot be reached any more."""
        self.process.kill()
        self.process.wait()

    def remove(self, *keys: str) -> None:
        """Delete objects of the bucket."""
        environment = {"AWS_ACCESS_KEY_ID": self.key, "AWS_SECRET_ACCESS_KEY": self.secret}
        _run(self.inside, _REMOVE, self.endpoint, BUCKET, *keys, **environment)


@contextmanager
def s3_server(folder: Path, port: int, host: str = "127.0.0.1", *, inside: tuple[str, ...] = ()) -> Iterator[S3]:
    """Serve S3 for one block."""
    endpoint = f"http://{host}:{port}"
    with (folder / "s3.log").open("wb") as log:
        command = [*inside, sys.executable, "-m", "moto.server", "-H", host, "-p", str(port)]
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    try:
        made = json.loads(_run(inside, _PREPARE, endpoint, BUCKET, str(STARTS_WITHIN)))
        yield S3(endpoint, made["AccessKeyId"], made["SecretAccessKey"], process, inside)
    finally:
        process.terminate()
        process.wait()


def _run(inside: tuple[str, ...], code: str, *arguments: str, **variables: str) -> str:
    environment = {**os.environ, "AWS_DEFAULT_REGION": "us-east-1", **variables}
    command = [*inside, sys.executable, "-c", code, *arguments]
    return subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
