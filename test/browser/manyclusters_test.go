package browser

import (
	"context"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// hostAddress is the address of the lab's host in the network of a cluster.
func (l *labs) hostAddress(t *testing.T, c *cluster) string {
	t.Helper()
	address, err := l.onNode(t.Context(), c, "ip -4 route show default | cut -d ' ' -f 3")
	require.NoError(t, err)
	require.NotNil(t, net.ParseIP(address), address)
	return address
}

// startNATS starts a NATS that the nodes of both clusters reach until the test ends, and returns its
// URL for each of the two. It asks for no user: what users may do has tests of its own.
func (l *labs) startNATS(t *testing.T) (first, second string) {
	t.Helper()
	const port = "4222"
	server := exec.Command(filepath.Join(l.bin, "nats-server"), "--addr", "0.0.0.0", "--port", port, "--jetstream", "--store_dir", t.TempDir())
	var log strings.Builder
	server.Stderr = &log
	server.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	require.NoError(t, server.Start())
	t.Cleanup(func() {
		assert.NoError(t, server.Process.Kill())
		_ = server.Wait() // it was killed
		if t.Failed() {
			t.Logf("nats-server:\n%s", log.String())
		}
	})
	socket := filepath.Join(t.TempDir(), "nats")
	relay, err := l.relayFrom(l.second, net.JoinHostPort("0.0.0.0", port), net.JoinHostPort("127.0.0.1", port), socket)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, relay.Close()) })
	return "nats://" + net.JoinHostPort(l.hostAddress(t, l.first), port), "nats://" + net.JoinHostPort(l.hostAddress(t, l.second), port)
}

// forwardDashboard makes the dashboard of the first cluster's watcher reachable until the test ends,
// and returns its address.
func (l *labs) forwardDashboard(t *testing.T) string {
	t.Helper()
	forward := exec.Command("kubectl", "--namespace", "rotate-certs", "port-forward", "service/rotate-certs-dashboard", ":80")
	forward.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := forward.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, forward.Start())
	t.Cleanup(func() {
		assert.NoError(t, forward.Process.Kill())
		_ = forward.Wait() // it was killed
	})
	printed := make([]byte, 1<<10)
	count, err := out.Read(printed)
	require.NoError(t, err)
	go func() { _, _ = io.Copy(io.Discard, out) }()
	address := regexp.MustCompile(`127\.0\.0\.1:\d+`).Find(printed[:count])
	require.NotNil(t, address, "%s", printed[:count])
	return "http://" + string(address)
}

// accountToken creates a ServiceAccount with these roles until the test ends, and returns its token
// for the dashboard.
func (l *labs) accountToken(t *testing.T, account string, roles ...string) string {
	t.Helper()
	created := []string{"delete", "--ignore-not-found", "serviceaccount/" + account}
	l.kubectl(t, "create", "serviceaccount", account)
	for _, role := range roles {
		name := account + "-" + strings.ReplaceAll(role, ":", "-")
		l.kubectl(t, "create", "clusterrolebinding", name, "--clusterrole="+role, "--serviceaccount=default:"+account)
		created = append(created, "clusterrolebinding/"+name)
	}
	t.Cleanup(func() {
		_, err := runCommand(context.WithoutCancel(t.Context()), "kubectl", created...)
		assert.NoError(t, err)
	})
	return strings.TrimSpace(l.kubectl(t, "create", "token", account, "--audience", "rotate-certs"))
}

// signIn types a token into the page that asks for one.
func (p *page) signIn(token string) {
	p.t.Helper()
	p.await("the page that asks for a token", stepLimit, `document.readyState === "complete" && document.querySelector("input[name=token]")`)
	evaluate[bool](p, `(document.querySelector("input[name=token]").value = "`+token+`") !== ""`)
	p.click("button.primary")
}

// ask asks the second cluster for a rotation of a service, from the first page.
func (p *page) ask(address, service string) {
	p.t.Helper()
	p.open(address)
	p.click(`a[href^="/ask"]`)
	p.awaitText("Ask for a rotation", stepLimit)
	p.click(`input[name=service][value="` + service + `"]`)
	p.assertAccessible("the page that asks another cluster")
	p.click("form.choice button")
	p.awaitText("The rotation is asked for", stepLimit)
}

// awaitAnswer reloads the first page until its newest row of a rotation that was asked for has an
// answer.
func (p *page) awaitAnswer(address, service, answer string) {
	p.t.Helper()
	row := ""
	err := poll(rotationLimit, func() bool {
		p.open(address)
		row = evaluate[string](p, `document.querySelector("tr:has(td[data-label=Answer])").innerText`)
		return strings.Contains(row, service) && regexp.MustCompile(answer).MatchString(row)
	})
	require.NoError(p.t, err, "the newest row: %s", row)
}

// TestAskAnotherCluster has two watchers, each in its own cluster, that share a NATS. The page of
// one shows the other, whose watcher carries out what its policy permits.
func TestAskAnotherCluster(t *testing.T) {
	first, second := here.startNATS(t)
	own := writeKubeconfig(t, namedCluster{production, here.first})
	other := writeKubeconfig(t, namedCluster{staging, here.second})
	here.installWatcher(t, own, "--policy", noDailyLimit(t, ""), "--nats-url", first, "--share-summary", "--cluster-name", production, "--dashboard")
	here.installWatcher(t, other, "--policy", noDailyLimit(t, ", fleetRequests: {services: [kube-scheduler]}"), "--nats-url", second, "--share-summary", "--cluster-name", staging)
	token := here.accountToken(t, "browser-asker", "rotate-certs:view", "rotate-certs:ask")

	address := here.forwardDashboard(t)
	p := startChromium(t)
	p.open(address)
	p.await("the page that asks for a token", stepLimit, `document.querySelector("input[name=token]")`)
	p.assertAccessible("the page that asks for a token")
	p.signIn("no-token")
	p.awaitText("Hint:", stepLimit)
	p.assertAccessible("a token that is refused")
	p.signIn(token)
	p.await("the first page", stepLimit, `document.querySelector("#clusters")`)
	require.NoError(t, poll(3*time.Minute, func() bool {
		p.open(address)
		return evaluate[bool](p, `Boolean(document.querySelector("a[href^='/ask']"))`)
	}), "the summary of the other cluster: %s", p.text())
	p.assertAccessible("the first page with another cluster")

	before := here.fileSum(t, here.second, schedulerFile)
	p.ask(address, "kube-controller-manager")
	p.assertAccessible("a rotation that was asked for")
	require.NoError(t, poll(stepLimit, func() bool {
		return strings.Contains(here.kubectl(t, "--kubeconfig", other, "get", "events", "-A", "--field-selector", "reason=RequestRefused", "-o", "jsonpath={.items[*].message}"),
			"browser-asker of cluster "+production+" asked for kube-controller-manager: refused")
	}), "the other cluster refuses what its policy does not permit")
	p.awaitAnswer(address, "kube-controller-manager", `refused\s+\S`)
	p.assertAccessible("the first page with a refusal")
	p.ask(address, "kube-scheduler")
	require.NoError(t, poll(rotationLimit, func() bool {
		return here.kubectl(t, "--kubeconfig", other, "get", "certificaterotations", "-o", "jsonpath={.items[*].status.completionTime}") != ""
	}), "the other cluster rotates, to the end: what is not ended the next rotation would continue")
	assert.NotEqual(t, before, here.fileSum(t, here.second, schedulerFile))
	p.awaitAnswer(address, "kube-scheduler", `taken\s+CertificateRotation asked-\S+, Succeeded`)
	p.assertAccessible("the first page with an answer")
}
