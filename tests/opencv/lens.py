"""What OpenCV's lens does to points and pictures: writes tests/fixtures/lens.safetensors, or holds the file to OpenCV again.

Usage: lens.py [--check] FILE

Of each camera: `camera` (height, width, fx, fy, cx, cy, k1, k2, p1, p2, k3, k4, k5, k6); points of the corrected picture (N,2) in
OpenCV's coordinates, `corrected`, and where `cv2.projectPoints` has them `recorded`; `undistorted`, what `cv2.undistortPoints`
makes of these; `map` (2,h/16,w/16), every sixteenth pixel of `cv2.initUndistortRectifyMap`. Of the small one a `picture` (h,w) of
0 to 1 and what `cv2.remap` by the whole map makes of it, bilinearly and reflected at the edges, `flat`. Ends with 77 and a line,
which a test runner takes for skipped, where the packages are not installed.
"""
import sys

try:
    import cv2
    import numpy as np
    from safetensors.numpy import load_file, save_file
except ImportError as missing:
    print(f"skipped: {missing}")
    sys.exit(77)

cameras = {
    "barrel": (480, 640, 535.9157, 535.8231, 342.2832, 235.5708, -0.26637, -0.03859, 1.784e-3, -2.814e-4, 0.238395, 0, 0, 0),
    "rational": (720, 1280, 812.5, 809.25, 655.75, 348.5, 1.2, -0.35, -4e-4, 7e-4, 0.021, 1.45, 0.08, -0.031),
    "pincushion": (600, 800, 900, 905.5, 391.25, 310, 0.18, 0.04, -1e-3, 2e-3, 0, 0, 0, 0),
    "small": (48, 64, 52, 51, 33.25, 22.5, -0.21, 0.03, 2e-3, -1e-3, 0, 0, 0, 0),
}


def made():
    out = {}
    for name, numbers in cameras.items():
        height, width, fx, fy, cx, cy = numbers[:6]
        matrix = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]], dtype=np.float64)
        distortion = np.array(numbers[6:], dtype=np.float64)
        u, v = np.meshgrid(np.linspace(-0.5, width - 0.5, 13), np.linspace(-0.5, height - 0.5, 11))
        corrected = np.stack([u.ravel(), v.ravel()], axis=1)
        rays = np.concatenate([(corrected - [cx, cy]) / [fx, fy], np.ones((len(corrected), 1))], axis=1)
        recorded = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), matrix, distortion)[0].reshape(-1, 2)
        undistorted = cv2.undistortPoints(recorded.reshape(-1, 1, 2), matrix, distortion, P=matrix,
                                          criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 500, 1e-14)).reshape(-1, 2)
        maps = cv2.initUndistortRectifyMap(matrix, distortion, None, matrix, (width, height), cv2.CV_32FC1)
        out |= {f"{name}.camera": np.array(numbers, dtype=np.float64), f"{name}.corrected": corrected,
                f"{name}.recorded": recorded, f"{name}.undistorted": undistorted,
                f"{name}.map": np.stack([m[::16, ::16] for m in maps])}
        if name == "small":
            y, x = np.mgrid[0:height, 0:width]
            picture = ((37 * x * x // 16 + 9 * y + 5 * x * y // 8) % 256 / 255).astype(np.float32)
            out |= {"small.picture": picture, "small.flat": cv2.remap(picture, *maps, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)}
    return {name: np.ascontiguousarray(value) for name, value in out.items()}


if sys.argv[1] != "--check":
    save_file(made(), sys.argv[1])
    sys.exit(0)
kept, now = load_file(sys.argv[2]), made()
assert kept.keys() == now.keys(), f"{sorted(kept)} against {sorted(now)}"
for name, value in now.items():
    off = float(np.abs(value - kept[name]).max())
    # Pixels of maps and pictures are float32.
    assert off <= (1e-3 if value.dtype == np.float32 else 1e-7), f"{name}: OpenCV {cv2.__version__} is {off} off"
print(f"OpenCV {cv2.__version__} makes the same of {len(cameras)} cameras")
