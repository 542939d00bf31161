"""Print the keys of an archive's objects in S3, one a line. A program of its own, so that fastzero does not load boto3.

objects.py BUCKET PREFIX [ENDPOINT]
"""

import sys


def main() -> None:
    import boto3
    from botocore.exceptions import BotoCoreError, ClientError

    bucket, prefix, *endpoint = sys.argv[1:]
    try:
        client = boto3.client("s3", endpoint_url=endpoint[0] if endpoint else None)
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
            for each in page.get("Contents", ()):
                print(each["Key"])  # noqa: T201 - its output
    except (BotoCoreError, ClientError) as error:
        raise SystemExit(str(error)) from None


if __name__ == "__main__":
    main()
