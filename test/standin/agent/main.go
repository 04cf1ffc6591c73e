// Command agent stands in for an agent of RKE2, with its kubelet, and for one of K3s, by the name
// that it is started with. It behaves as they are documented to, and is stricter in one point: it
// renews nothing while its unit runs.
package main

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
)

// product is rke2 or k3s. The kubelet of RKE2 is a program of its own.
var product = strings.Replace(filepath.Base(os.Args[0]), "kubelet", "rke2", 1)

var agentDir = "/var/lib/rancher/" + product + "/agent"

const (
	// authorityDir holds the CAs of the servers, which sign for the agent.
	authorityDir = "/var/lib/servers"
	// Files by which the test controls the command: it fails, or it waits for the second.
	failFile     = "/out/fail"
	holdFile     = "/out/hold"
	continueFile = "/out/continue"
)

// pairs are the agent's certificates, by the CA that signs them and the user in them.
var pairs = map[string][2]string{"client-kubelet": {"client-ca", "system:node:node-1"}, "serving-kubelet": {"server-ca", "node-1"}}

func main() {
	var err error
	switch {
	case filepath.Base(os.Args[0]) == "kubelet":
		err = serveKubelet()
	case len(os.Args) > 2 && os.Args[1] == "certificate" && os.Args[2] == "rotate":
		err = removePairs(os.Args[3:])
	case len(os.Args) > 1 && os.Args[1] == "agent":
		err = runAgent()
	default:
		err = fmt.Errorf("unknown command %q", os.Args[1:])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// runAgent makes the pairs that do not exist, runs the kubelet, and ends with SIGTERM.
func runAgent() error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	for name, of := range pairs {
		if err := makePair(filepath.Join(agentDir, name), of[0], of[1]); err != nil {
			return err
		}
	}
	if product == "k3s" {
		go func() { _ = serveKubelet() }()
		<-stop
		return nil
	}
	c := exec.Command("/var/lib/rancher/rke2/bin/kubelet", "--kubeconfig="+agentDir+"/kubelet.kubeconfig", "--client-ca-file="+agentDir+"/client-ca.crt",
		"--tls-cert-file="+agentDir+"/serving-kubelet.crt", "--tls-private-key-file="+agentDir+"/serving-kubelet.key")
	c.Args[0] = "kubelet"
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := c.Start(); err != nil {
		return err
	}
	<-stop
	return nil
}

func makePair(path, ca, user string) error {
	if _, err := os.Stat(path + ".crt"); err == nil {
		return nil
	}
	signer, err := tls.LoadX509KeyPair(filepath.Join(authorityDir, ca+".crt"), filepath.Join(authorityDir, ca+".key"))
	if err != nil {
		return err
	}
	key, err := certs.NewKeyLike(signer.Leaf.PublicKey, "")
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: user}, NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		DNSNames: []string{"node-1"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	leaf, err := certs.SignTemplate(template, key.Signer.Public(), signer.Leaf, signer.PrivateKey.(crypto.Signer))
	if err != nil {
		return err
	}
	keyPEM, err := key.PEM()
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".key", keyPEM, 0o600); err != nil {
		return err
	}
	return os.WriteFile(path+".crt", certs.EncodePEM(leaf, signer.Leaf), 0o600)
}

// removePairs is "certificate rotate": it copies the pairs to a directory of their own and
// removes them.
func removePairs(args []string) error {
	state, _ := exec.Command("systemctl", "is-active", product+"-agent").Output()
	if strings.TrimSpace(string(state)) == "active" {
		return fmt.Errorf("%s-agent runs", product)
	}
	if want := "--data-dir=/var/lib/rancher/" + product + " --service=kubelet"; strings.Join(args, " ") != want {
		return fmt.Errorf("arguments are %q, want %s", args, want)
	}
	if _, err := os.Stat(failFile); err == nil {
		return fmt.Errorf("it fails as the test wants")
	}
	for _, err := os.Stat(holdFile); err == nil; _, err = os.Stat(holdFile) {
		if _, err := os.Stat(continueFile); err == nil {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	backup := filepath.Join(agentDir, fmt.Sprintf("tls-%d", time.Now().UnixNano()))
	if err := os.Mkdir(backup, 0o700); err != nil {
		return err
	}
	for name := range pairs {
		for _, file := range []string{name + ".crt", name + ".key"} {
			if err := os.Rename(filepath.Join(agentDir, file), filepath.Join(backup, file)); err != nil {
				return err
			}
		}
	}
	return nil
}

// serveKubelet is a kubelet as far as it is asked: it serves its health and its certificate.
func serveKubelet() error {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "ok") })
	health := &http.Server{Addr: "127.0.0.1:10248", Handler: ok, ReadHeaderTimeout: time.Second}
	go func() { _ = health.ListenAndServe() }()
	own := &http.Server{Addr: ":10250", Handler: ok, ReadHeaderTimeout: time.Second}
	return own.ListenAndServeTLS(agentDir+"/serving-kubelet.crt", agentDir+"/serving-kubelet.key")
}
