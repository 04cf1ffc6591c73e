package rotate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/component"
	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
)

const rke2Unit = "rke2-server.service"

// fakeRKE2 is a server of RKE2: its unit runs the kubelet, and writes the manifests of static
// pods, which continue when the unit stops. "rke2 certificate rotate" is a program of its own,
// a stand-in that [standInFor] writes. A start makes the files again that the command has
// removed, and no others, and replaces the static pods if the command has asked for that.
type fakeRKE2 struct {
	*fakeK0s
	program   string
	dir       string // the data directory, as the test sees it
	commands  []string
	inCommand bool
	withdrawn bool
	result    error // of the command

	// Fields that a test may change:
	forgets bool     // systemd does not start the unit again
	depends []string // units that stop with it
	pending bool     // systemd cannot be made to forget the command
	spares  string   // a certificate that the command does not remove
}

// rke2Dir is the data directory on the node, whose files are below a directory of the test.
const rke2Dir = "/var/lib/rancher/rke2"

// partOf maps the certificates to the names by which the command knows them.
var partOf = map[string]string{
	"apiserver": "api-server", "apiserver-kubelet-client": "api-server", "apiserver-etcd-client": "etcd", "front-proxy-client": "auth-proxy",
	"etcd-server": "etcd", "etcd-peer": "etcd", "etcd-healthcheck-client": "etcd",
	"scheduler.conf": "scheduler", "controller-manager.conf": "controller-manager", "admin.conf": "admin",
}

func newFakeRKE2(t *testing.T) *fakeRKE2 {
	r := &fakeRKE2{fakeK0s: newFakeK0s(t)}
	r.dir = r.tree.Local(rke2Dir)
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	r.unit = rke2Unit
	r.program = r.standInFor()
	r.addFlag("running")
	return r
}

// standInFor writes a program that behaves as "rke2 certificate rotate" is documented to: it
// copies all certificates to a directory of their own, removes the files of the services
// that it is given, and asks for new static pods. Unlike the real one it refuses to do so while
// its unit runs, so that a test fails which does not stop it.
func (r *fakeRKE2) standInFor() string {
	files := map[string]string{}
	for name, part := range partOf {
		if name == r.spares {
			continue
		}
		store := r.tree.Stores[name]
		files[part] += " '" + r.tree.Local(store.Cert) + "'"
		if store.Kind == inventory.Pair {
			files[part] += " '" + r.tree.Local(store.Key) + "'"
		}
	}
	script := `#!/bin/sh
set -e
[ "$1 $2" = "certificate rotate" ] || exit 64
shift 2
for word; do
	case $word in
	--data-dir=*) dir=${word#*=} ;;
	--service=*) services="$services ${word#*=}" ;;
	*) exit 64 ;;
	esac
done
[ ! -e "$dir/running" ] || { echo "rke2 runs"; exit 3; }
[ ! -e "$dir/broken" ] || exit 4
mkdir -p "$dir/server"
cp -r '` + r.tree.Local("/etc/kubernetes") + `' "$dir/server/tls-1764000000"
touch "$dir/force-restart"
for s in $services; do
	case $s in
`
	for part, names := range files {
		script += fmt.Sprintf("\t%s) rm -f%s ;;\n", part, names)
	}
	script += "\t*) exit 65 ;;\n\tesac\ndone\n"
	program := filepath.Join(r.dir, "rke2")
	if err := os.WriteFile(program, []byte(script), 0o700); err != nil {
		r.t.Fatal(err)
	}
	return program
}

func (r *fakeRKE2) addFlag(name string) {
	if err := os.WriteFile(filepath.Join(r.dir, name), nil, 0o600); err != nil {
		r.t.Error(err)
	}
}

// removeFlag removes a flag file, and reports whether it was there.
func (r *fakeRKE2) removeFlag(name string) bool { return os.Remove(filepath.Join(r.dir, name)) == nil }

func (r *fakeRKE2) scanNode(ctx context.Context) (inventory.Node, error) {
	node, err := r.fakeK0s.scanNode(ctx)
	for i := range node.Components {
		if c := &node.Components[i]; c.Service != certs.Kubelet {
			c.Runtime = inventory.StaticPod
		}
	}
	for i := range node.Certificates {
		c := &node.Certificates[i]
		if part := partOf[c.Name]; part != "" {
			c.Issuer.Kind = inventory.UnitCommand
			c.Issuer.Command = r.program + " certificate rotate --data-dir=" + r.dir
			c.Issuer.Part = part
			c.Issuer.Backups = rke2Dir + "/server"
			c.PublicKeySHA256 = certs.PublicKeySHA256(r.onDisk(c.Name).PublicKey)
		}
	}
	return node, err
}

// RunRenewal implements UnitCommander.
func (r *fakeRKE2) RunRenewal(ctx context.Context, c inventory.Component, renewal component.Renewal, old component.Instance) error {
	if renewal.RestartsItself || len(renewal.Commands) != 1 {
		return fmt.Errorf("%+v is no command of RKE2", renewal)
	}
	command := renewal.Commands[0]
	if now, err := r.CurrentInstance(ctx, c); err != nil || now.ID != old.ID {
		return fmt.Errorf("instance %q no longer exists: %w", old.ID, err)
	}
	r.mu.Lock()
	r.started = append(r.started, certs.Service(c.Unit))
	r.commands = append(r.commands, strings.TrimPrefix(strings.Join(command, " "), r.dir+"/"))
	r.inCommand = true
	r.mu.Unlock()
	go r.runCommand(command)
	r.runOnStop(certs.Service(c.Unit))
	for {
		if now, err := r.CurrentInstance(ctx, c); err != nil || !now.Running {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// runCommand is systemd: it stops the unit, runs the command and starts the unit, even if the
// process that asked has ended.
func (r *fakeRKE2) runCommand(command []string) {
	if !r.sleepFor(r.stops) {
		return
	}
	r.mu.Lock()
	withdrawn := r.withdrawn
	r.running = false
	r.all[certs.Kubelet].running = false
	r.mu.Unlock()
	r.removeFlag("running")
	if withdrawn {
		r.startUnit()
		return
	}
	if !r.sleepFor(time.Second) {
		return
	}
	err := exec.Command(command[0], command[1:]...).Run()
	r.mu.Lock()
	r.result = err
	r.inCommand = false
	r.starting = !r.forgets
	r.mu.Unlock()
	if !r.forgets {
		r.startUnit()
	}
}

// CommandResult implements UnitCommander.
func (r *fakeRKE2) CommandResult(ctx context.Context) error {
	for {
		r.checkAlive()
		r.mu.Lock()
		running := r.inCommand
		result := r.result
		r.mu.Unlock()
		if !running {
			return result
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// WithdrawCommand implements UnitCommander.
func (r *fakeRKE2) WithdrawCommand(context.Context, inventory.Component) error {
	if r.pending {
		return errors.New("systemd does not answer")
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withdrawn = r.inCommand
	r.inCommand = false
	return nil
}

// StopInstance implements Restarter: the engine may only start the unit so that does not run.
func (r *fakeRKE2) StopInstance(ctx context.Context, c inventory.Component, i component.Instance) error {
	if now, err := r.CurrentInstance(ctx, c); err != nil || now.Running {
		return errors.New("it is stopped without the command")
	}
	r.mu.Lock()
	r.starting = true
	r.mu.Unlock()
	go r.startUnit()
	return nil
}

// startUnit is a start of RKE2.
func (r *fakeRKE2) startUnit() {
	r.addFlag("running")
	r.mu.Lock()
	for name := range partOf {
		if _, err := os.Stat(r.tree.Local(r.tree.Stores[name].Cert)); err == nil {
			r.keeps[name] = true
		}
	}
	if r.removeFlag("force-restart") {
		for _, f := range r.all {
			f.running = false
		}
	}
	r.mu.Unlock()
	r.fakeK0s.startUnit()
}

func (r *fakeRKE2) newEngine() (*Engine, *records) {
	e, out := r.fakeK0s.newEngine()
	e.Scan = r.scanNode
	e.Restarter = r
	e.Commander = r
	return e, out
}

func (r *fakeRKE2) stageServices(order nodeapi.Order, services ...certs.Service) {
	r.t.Helper()
	r.stageScanned(r.scanNode, order, services)
}

// rotateServices carries out a whole rotation of some services.
func (r *fakeRKE2) rotateServices(order nodeapi.Order, services ...certs.Service) *records {
	r.t.Helper()
	e, out := r.newEngine()
	r.stageServices(order, services...)
	return r.runToEnd(e, out)
}
