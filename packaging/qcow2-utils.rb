# SPDX-License-Identifier: MIT
# A formula of Homebrew, for a tap of one's own. A release writes its address and digest: docs/release.md.
class Qcow2Utils < Formula
  desc "See, check, repair and change QCOW2 disk images without QEMU"
  url "file:///dev/null"
  version "0.1.0"
  sha256 "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
  license "MIT"

  depends_on "meson" => :build
  depends_on "ninja" => :build
  depends_on "pkgconf" => :build
  depends_on "scdoc" => :build
  depends_on "xxhash" => :build
  depends_on "argon2"
  depends_on "inih"
  depends_on "libdeflate"
  depends_on "nettle"
  depends_on "zstd"

  def install
    system "meson", "setup", "build", "-Dcodecs=shared", *std_meson_args
    system "meson", "compile", "-C", "build"
    system "meson", "install", "-C", "build"
    pkgshare.install "examples"
  end

  test do
    cp pkgshare/"examples/sample.qcow2", testpath
    assert_match "sample.qcow2 is sound", shell_output("#{bin}/qcow2 check sample.qcow2")
    assert_equal "1048576", shell_output("#{bin}/qcow2 bitmap extents -j sample.qcow2 weekly")[/1048576/]
  end
end
