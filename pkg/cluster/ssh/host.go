package ssh

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/rotate-certs/rotate-certs/pkg/cluster/session"
	"github.com/rotate-certs/rotate-certs/pkg/hint"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

// host is one machine: its address as given to ssh, and how to run the program there.
type host struct {
	address string
	client  *client
	become  string // what precedes a command that needs root: "sudo -n -- ", or nothing
	program string // path of the node program on the host
	// directory of the program on the host.
	directory string
}

// machines maps the machine names of uname to Go's architectures.
var machines = map[string]string{"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}

// probe prints what has to be known of a host. It changes nothing.
const probe = `echo "system $(uname -s)"
echo "machine $(uname -m)"
if [ "$(id -u)" = 0 ]; then echo "root yes"
elif ! command -v sudo >/dev/null 2>&1; then echo "root no-sudo"
elif sudo -n true >/dev/null 2>&1; then echo "root sudo"
else echo "root sudo-refuses"; echo "sudo $(sudo -n true 2>&1 | tail -n 1)"; fi`

// connectHost learns how to work on a host, and returns its architecture.
func connectHost(ctx context.Context, c *client, address, directory string) (h *host, arch string, err error) {
	h = &host{address: address, client: c, directory: directory}
	said, err := h.shell(ctx, probe, nil)
	if err != nil {
		return nil, "", err
	}
	facts := map[string]string{}
	for line := range strings.Lines(said) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		facts[name] = value
	}
	arch, known := machines[facts["machine"]]
	if facts["system"] != "Linux" || !known {
		return nil, "", fmt.Errorf("host %q is %s/%s: there is a node program for Linux on amd64 and arm64 only", address, facts["system"], facts["machine"])
	}
	switch facts["root"] {
	case "yes":
	case "sudo":
		h.become = "sudo -n -- "
	case "no-sudo":
		return nil, "", hint.AddTo(fmt.Errorf("host %q: root is needed, and there is no sudo", address),
			"name a user who is root: --host root@%s", withoutUser(address))
	default:
		return nil, "", hint.AddTo(fmt.Errorf("host %q: root is needed, and sudo asks for a password or refuses: %s", address, facts["sudo"]),
			"allow this user \"NOPASSWD: ALL\" in sudoers, or name root: --host root@%s", withoutUser(address))
	}
	return h, arch, nil
}

func withoutUser(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }

// defaultDirectory is that of the program on a host. Like the state directory it is for root only.
const defaultDirectory = nodeapi.StateDirectory + "/program"

// install reads the program from standard input, and puts it in place once its checksum is right. It
// also removes what runs that were killed have left a day ago or earlier.
const (
	install = `umask 077 && mkdir -p %[3]s && t=%[1]s.new && trap 'rm -f "$t"' EXIT && cat >"$t" || exit 4
find %[3]s -name 'rotate-certs-node-*' -mmin +1440 -exec rm -f {} + 2>/dev/null
[ "$(sha256sum <"$t" | cut -c1-64)" = %[2]s ] || { echo "the copy has another checksum" >&2; exit 4; }
chmod 700 "$t" && mv -f "$t" %[1]s || exit 4
%[1]s version >/dev/null || { echo "it cannot be run there" >&2; exit 5; }`
	remove = `rm -f %[1]s; rmdir %[3]s 2>/dev/null; true`
)

// exitNotRun is the exit code of install where the program cannot be run.
const exitNotRun = 5

func (h *host) script(text, sum string) string {
	return h.become + "sh -c " + quote(fmt.Sprintf(text, h.program, sum, h.directory))
}

// installProgram copies the node program from a file of this machine. Its name on the host is new
// each time: another run that ends removes its own.
func (h *host) installProgram(ctx context.Context, file string) error {
	data, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the node program: %w", err)
	}
	digest := sha256.Sum256(data)
	sum := hex.EncodeToString(digest[:])
	h.program = h.directory + "/rotate-certs-node-" + strings.ToLower(rand.Text())
	_, err = h.shell(ctx, h.script(install, sum), bytes.NewReader(data))
	var exit *session.ExitError
	if errors.As(err, &exit) && exit.Code == exitNotRun {
		return hint.AddTo(err, "is the file system of %q mounted with noexec?", h.directory)
	}
	return err
}

// removeProgram removes it again. A process that runs continues.
func (h *host) removeProgram(ctx context.Context) error {
	_, err := h.shell(ctx, h.script(remove, ""), nil)
	return err
}

// shell runs a script and returns its standard output. The error of one that failed has its last
// line.
func (h *host) shell(ctx context.Context, script string, stdin io.Reader) (string, error) {
	var out, said bytes.Buffer
	err := h.client.run(ctx, h.address, script, stdin, &out, &said)
	var exit *session.ExitError
	if errors.As(err, &exit) {
		return out.String(), fmt.Errorf("host %q: %s (%w)", h.address, session.LastLine(said.String()), exit)
	}
	return out.String(), err
}

// Run runs a command of the node program; see [session.Runner].
func (h *host) Run(ctx context.Context, c session.Command) error {
	words := make([]string, 0, len(c.Args)+1)
	for _, arg := range append([]string{h.program}, c.Args...) {
		words = append(words, quote(arg))
	}
	return h.client.run(ctx, h.address, h.become+strings.Join(words, " "), c.Stdin, c.Stdout, c.Stderr)
}

// Ended implements [session.Process]: whether the process still runs is learned from "follow"
// alone, which ends with it.
func (h *host) Ended(context.Context) *session.Ended { return nil }

// maxOutput bounds what a command may print. The inventory of a node with hundreds of
// certificates is far smaller.
const maxOutput = 4 << 20

// call runs a command of the node program that prints one line of JSON, and decodes it.
func (h *host) call(ctx context.Context, into any, args ...string) error {
	out := &capped{}
	var said bytes.Buffer
	err := h.Run(ctx, session.Command{Args: args, Stdout: out, Stderr: &limited{&said}})
	var exit *session.ExitError
	switch {
	case errors.As(err, &exit):
		return &session.CommandError{Node: h.address, Verb: args[0], Code: exit.Code, Said: hint.LastError(said.String())}
	case err != nil:
		return err
	}
	if err := json.Unmarshal(out.Bytes(), into); err != nil {
		return fmt.Errorf("host %q: read what %q printed: %w", h.address, args[0], err)
	}
	return nil
}

// capped keeps up to maxOutput bytes, and fails beyond.
type capped struct{ bytes.Buffer }

func (c *capped) Write(p []byte) (int, error) {
	if c.Len()+len(p) > maxOutput {
		return 0, fmt.Errorf("more than %d bytes", maxOutput)
	}
	return c.Buffer.Write(p)
}
