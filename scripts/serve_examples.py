#!/usr/bin/env python3
"""Every path of `igpt serve` from Python, with nothing but its standard library.

    igpt serve --neighbors emoji &
    scripts/serve_examples.py http://127.0.0.1:8000
"""

import base64
import json
import os
import sys
import urllib.error
import urllib.request

URL = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000"


def request(path, body=None):
    headers = {"Content-Type": "application/json"}
    if token := os.environ.get("IGPT_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"
    data = None if body is None else json.dumps(body).encode()
    return urllib.request.urlopen(urllib.request.Request(URL + path, data, headers))


def ask(path, **body):
    with request(path, body) as answer:
        return json.load(answer)


def events(path, **body):
    """(name, data) of every server-sent event."""
    with request(path, {**body, "stream": True}) as answer:
        name = None
        for line in answer:
            key, _, value = line.decode().rstrip("\n").partition(": ")
            if key == "event":
                name = value
            elif key == "data":
                yield name, json.loads(value)


def main():
    model = json.load(request("/v1/models"))["models"][0]
    height, width = model["height"], model["width"]
    print(f"{model['name']}: {model['parameters']} parameters, {height}x{width} pixels, {model['n_vocab']} colours")

    drawn = ask("/v1/sample", n=2, seed=1)["images"]
    png = drawn[0]["png"]
    print("sample:", len(base64.b64decode(png)), "bytes of PNG")
    again = ask("/v1/sample", n=2, seed=1)["images"]
    assert drawn == again, "the same seed gives the same images"

    # The lower half, pixel by pixel.
    tokens = drawn[0]["tokens"]
    seen = tokens[: height // 2 * width]
    for name, data in events("/v1/complete", tokens=tokens, rows=height // 2, seed=7):
        if name == "pixels":
            seen[data["from"] :] = data["tokens"]
        elif name == "done":
            assert seen == data["images"][0]["tokens"], "the events are the answer in parts"
            print("complete:", data["method"], len(seen), "pixels")

    # A hole in the middle: known pixels below it steer through candidates.
    inside = lambda pixel: 4 <= pixel // width < height - 4 and 4 <= pixel % width < width - 4
    mask = [inside(pixel) for pixel in range(height * width)]
    filled = ask("/v1/complete", tokens=tokens, mask=mask, candidates=8)
    image = filled["images"][0]
    assert all(hidden or a == b for a, b, hidden in zip(tokens, image["tokens"], mask)), "known pixels are kept"
    print("hole:", filled["method"], "effective candidates", image["effective_candidates"])

    if model["can"]["score"]:
        score = ask("/v1/score", images=[png])["scores"][0]
        assert abs(sum(score["surprise"]) - score["nats"]) < 1e-2 * abs(score["nats"])
        print(f"score: {score['nats_per_pixel']:.3f} nats/pixel")
    if model["can"]["inspect"]:
        judged = ask("/v1/inspect", images=[png], false_alarms=0.1)
        print("inspect:", judged["images"][0]["score"], "of a threshold of", judged["threshold"])
    row = ask("/v1/predict", image=png, row=3)["probabilities"]
    print("predict: the likeliest colour of the first pixel of row 3 is", max(range(len(row[0])), key=row[0].__getitem__))
    embedded = ask("/v1/embed", images=[png], layers="all")
    print("embed:", len(embedded["layers"]), "layers of", embedded["n_embd"], "values")
    if model["can"]["classify"]:
        print("classify:", ask("/v1/classify", images=[png])["images"][0]["class"])
    if model["can"]["neighbors"]:
        print("neighbors:", [found["name"] for found in ask("/v1/neighbors", image=png, k=3)["neighbors"]])

    try:
        ask("/v1/complete", tokens=tokens, rows=height)
    except urllib.error.HTTPError as error:
        print(f"what can't be done is said: {error.code} {json.load(error)['error']}")


if __name__ == "__main__":
    main()
