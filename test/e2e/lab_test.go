//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	certificatesv1 "k8s.io/api/certificates/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
)

// lab is the cluster under test.
type lab struct {
	name   string
	bin    string // directory of the built programs
	nodes  []machine
	etcds  []machine // hosts of an etcd outside, which are no nodes
	client kubernetes.Interface
	shape  struct {
		Topology   string `json:"topology"`
		EtcdLayout string `json:"etcdLayout"`
	}
}

// machine is one node.
type machine struct {
	Name string `json:"name"`
	Role string `json:"role"`
	IP   string `json:"ip"`
}

// the is the cluster that all tests share, set by TestMain.
var the *lab

func TestMain(m *testing.M) {
	l, err := openLab()
	if err != nil {
		fmt.Fprintln(os.Stderr, "error: these tests run in a lab, see \"make e2e\":", err)
		os.Exit(1)
	}
	the = l
	os.Exit(m.Run())
}

func openLab() (*lab, error) {
	l := &lab{name: os.Getenv("LAB_NAME")}
	if l.name == "" {
		l.name = "default"
	}
	bin, err := filepath.Abs("../../bin")
	if err != nil {
		return nil, err
	}
	l.bin = bin
	out, err := exec.Command(filepath.Join(bin, "lab"), "status", "--name", l.name).Output()
	if err != nil {
		return nil, fmt.Errorf("lab status: %w", err)
	}
	status := struct {
		Nodes []machine `json:"nodes"`
		Shape any       `json:"shape"`
	}{Shape: &l.shape}
	if err := json.Unmarshal(out, &status); err != nil {
		return nil, fmt.Errorf("lab status: %w", err)
	}
	for _, m := range status.Nodes {
		if m.Role == "etcd-host" {
			l.etcds = append(l.etcds, m)
		} else {
			l.nodes = append(l.nodes, m)
		}
	}
	if l.client, err = newClient(); err != nil {
		return nil, err
	}
	return l, l.approveServingRequests()
}

// newClient connects as the administrator of the lab.
func newClient() (kubernetes.Interface, error) {
	config, err := clientcmd.BuildConfigFromFlags("", os.Getenv("KUBECONFIG"))
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst, config.Timeout = 100, 200, limit
	return kubernetes.NewForConfig(config)
}

// approveServingRequests does what the administrator of a cluster with
// serverTLSBootstrap does once for every new node: nothing else approves these.
func (l *lab) approveServingRequests() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	csrs := l.client.CertificatesV1().CertificateSigningRequests()
	list, err := csrs.List(ctx, metav1.ListOptions{FieldSelector: "spec.signerName=" + certificatesv1.KubeletServingSignerName})
	if err != nil {
		return err
	}
	for i := range list.Items {
		csr := &list.Items[i]
		if len(csr.Status.Conditions) > 0 {
			continue
		}
		csr.Status.Conditions = append(csr.Status.Conditions, certificatesv1.CertificateSigningRequestCondition{
			Type: certificatesv1.CertificateApproved, Status: corev1.ConditionTrue, Reason: "NewNode"})
		if _, err := csrs.UpdateApproval(ctx, csr.Name, csr, metav1.UpdateOptions{}); err != nil {
			return err
		}
	}
	for _, n := range l.nodes {
		err := wait.PollUntilContextCancel(ctx, 200*time.Millisecond, true, func(ctx context.Context) (bool, error) {
			conn, err := (&tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}).DialContext(ctx, "tcp", n.IP+":10250") //nolint:gosec // whether it serves at all
			if err != nil {
				return false, nil
			}
			return true, conn.Close()
		})
		if err != nil {
			return fmt.Errorf("the kubelet of %q serves no certificate: %w", n.Name, err)
		}
	}
	return nil
}

func (l *lab) controlPlanes() []machine {
	var out []machine
	for _, n := range l.nodes {
		if n.Role == "control-plane" {
			out = append(out, n)
		}
	}
	return out
}

// on runs a shell command on a node and returns its standard output.
func (l *lab) on(t *testing.T, node, script string) []byte {
	t.Helper()
	out, err := l.try(t.Context(), node, script)
	require.NoError(t, err, "on %s: %s", node, script)
	return out
}

// limit is how long one command may take. Whatever hangs fails its own test, with what
// it said until then, and not the whole run.
const limit = 5 * time.Minute

func (l *lab) try(ctx context.Context, node, script string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, errHangs)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(l.bin, "lab"), "exec", "--name", l.name, node, "--", "/bin/sh", "-c", script)
	cmd.WaitDelay = waitDelay
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return out, errors.Join(fmt.Errorf("%w: %s", err, stderr.String()), hung(ctx))
	}
	return out, nil
}

var errHangs = fmt.Errorf("it came to no end within %s", limit)

// hung is the error of a command that was ended at its limit.
func hung(ctx context.Context) error {
	if cause := context.Cause(ctx); errors.Is(cause, errHangs) {
		return cause
	}
	return nil
}

// waitDelay is how long the streams of a command that was ended may stay open.
const waitDelay = 5 * time.Second

// outcome is what a command left behind.
type outcome struct {
	exit           int
	stdout, stderr string
	took           time.Duration
}

func (o outcome) String() string {
	return fmt.Sprintf("exit %d after %s\n--- stdout\n%s\n--- stderr\n%s", o.exit, o.took.Round(time.Millisecond), o.stdout, o.stderr)
}

// kubectl runs the real kubectl, which finds the plugin on its PATH.
func (l *lab) kubectl(t *testing.T, args ...string) outcome {
	t.Helper()
	ctx, cancel := context.WithTimeoutCause(t.Context(), limit, errHangs)
	defer cancel()
	cmd := l.command(ctx, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	began := time.Now()
	err := cmd.Run()
	o := outcome{stdout: stdout.String(), stderr: stderr.String(), took: time.Since(began)}
	require.NoError(t, hung(ctx), "kubectl %s: %s", strings.Join(args, " "), o)
	o.exit = exitCode(t, err)
	return o
}

func (l *lab) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, "kubectl", args...)
	cmd.Env = append(os.Environ(), "PATH="+l.bin+":"+os.Getenv("PATH"))
	cmd.WaitDelay = waitDelay
	return cmd
}

func exitCode(t *testing.T, err error) int {
	t.Helper()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return exit.ExitCode()
	}
	require.NoError(t, err)
	return 0
}

// rotate runs the plugin and expects success; the result is its report.
func (l *lab) rotate(t *testing.T, args ...string) report {
	t.Helper()
	o := l.kubectl(t, append([]string{"rotate-certs", "-o", "json"}, args...)...)
	require.Zero(t, o.exit, "%s", o)
	t.Logf("rotate %s: %s", strings.Join(args, " "), o.took.Round(time.Millisecond))
	return parseReport(t, o)
}

func parseReport(t *testing.T, o outcome) report {
	t.Helper()
	var r report
	require.NoError(t, json.Unmarshal([]byte(o.stdout), &r), "standard output holds the report and nothing else: %s", o)
	require.Equal(t, "rotate-certs.io/v1alpha1", r.APIVersion)
	require.Equal(t, "RotationReport", r.Kind)
	return r
}

// report is the documented form of a rotation's result, written down once more so
// that a field renamed by mistake is noticed.
type report struct {
	APIVersion, Kind, ID, Result string
	RollbackOf                   string
	Notes                        []string
	Items                        []struct {
		Node, Service, Result string
		Restarted             bool
		UnavailableSeconds    float64
		Evidence              []string
		Certificates          []struct {
			Name, Path string
			Old        struct{ SerialNumber, FingerprintSHA256 string }
			New        *struct{ SerialNumber, FingerprintSHA256 string }
			SignedBy   string
		}
	}
	Collateral []struct{ Node, Service, Reason string }
	LeftOut    []struct{ Node, Service, Name, Path, Reason string }
}

// results maps "node/service" to its result.
func (r report) results() map[string]string {
	out := map[string]string{}
	for _, i := range r.Items {
		out[i.Node+"/"+i.Service] = i.Result
	}
	return out
}
