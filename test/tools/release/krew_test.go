package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// buildKrew builds krew's own programs, once, and returns their directory.
var buildKrew = sync.OnceValues(func() (string, error) {
	command := exec.Command("../build", "krew")
	command.Stderr = os.Stderr
	out, err := command.Output()
	return strings.TrimSpace(string(out)), err
})

// krewTools is the directory of krew's own programs.
func krewTools(t *testing.T) string {
	t.Helper()
	directory, err := buildKrew()
	if err != nil {
		t.Fatalf("build krew: %v", err)
	}
	return directory
}

func validateManifest(t *testing.T, krew, manifest string) {
	t.Helper()
	out, err := runValidator(krew, manifest)
	if err != nil {
		t.Errorf("validate-krew-manifest refuses %s: %v\n%s", manifest, err, out)
	}
}

func runValidator(krew, manifest string) ([]byte, error) {
	return exec.Command(filepath.Join(krew, "validate-krew-manifest"), "-manifest", manifest, "-skip-install").CombinedOutput()
}

// krewInstall installs an archive as krew does on a platform, with no network,
// and returns krew's directory.
func krewInstall(t *testing.T, krew, manifest, archive string, target platform) string {
	t.Helper()
	root := t.TempDir()
	out, err := runInstall(krew, manifest, archive, target, root)
	if err != nil {
		t.Fatalf("krew install for %s: %v\n%s", target, err, out)
	}
	store := filepath.Join(root, "store", "rotate-certs", testVersion)
	for _, name := range []string{"LICENSE", noticesFile, target.executable(pluginProgram), target.executable(completionProgram), nodeEntry(nodePlatforms[0]), nodeEntry(nodePlatforms[1])} {
		if _, err := os.Stat(filepath.Join(store, name)); err != nil {
			t.Errorf("krew installed no %s: %v", name, err)
		}
	}
	return root
}

func runInstall(krew, manifest, archive string, target platform, root string) ([]byte, error) {
	command := exec.Command(filepath.Join(krew, "krew"), "install", "--manifest="+manifest, "--archive="+archive)
	command.Env = append(os.Environ(),
		"KREW_ROOT="+root, "KREW_NO_UPGRADE_CHECK=1", "KREW_OS="+target.os, "KREW_ARCH="+target.arch,
		"HTTP_PROXY=http://127.0.0.1:1", "HTTPS_PROXY=http://127.0.0.1:1")
	return command.CombinedOutput()
}

// Krew's checks are believed above, so they must be able to fail.
func TestKrewRefusesWhatIsWrong(t *testing.T) {
	t.Parallel()
	krew, directory := krewTools(t), t.TempDir()
	manifest, archive := filepath.Join(directory, "rotate-certs.yaml"), filepath.Join(directory, "plugin.tar.gz")
	target := platform{"linux", "amd64"}
	described := publishedArchive{platform: target, file: "plugin.tar.gz", sha256: sha256Of([]byte("something else"))}
	if err := writeManifest(manifest, testVersion, "a test", []publishedArchive{described}); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(archive, []byte("no archive"), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := runInstall(krew, manifest, archive, target, t.TempDir())
	if err == nil || !bytes.Contains(out, []byte("checksum does not match")) {
		t.Errorf("krew install with a wrong sum: %v, want its complaint about the checksum\n%s", err, out)
	}

	shortened := bytes.ReplaceAll(readFile(t, manifest), []byte(described.sha256), []byte("abc"))
	if err := os.WriteFile(manifest, shortened, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := runValidator(krew, manifest); err == nil || !bytes.Contains(out, []byte("sha256")) {
		t.Errorf("validate-krew-manifest of a malformed sum: %v, want its complaint about sha256\n%s", err, out)
	}
}
