package lab

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"time"

	"github.com/rotate-certs/rotate-certs/test/lab/internal/hint"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/kubeadm"
	"github.com/rotate-certs/rotate-certs/test/lab/internal/parts"
)

// Up boots the lab that spec describes, or finds it running. Lines about what
// it does go to log. What a failed boot leaves is kept for inspection; the
// next Up or Down removes it.
func Up(spec Spec, log io.Writer) (*Lab, error) {
	if err := spec.Validate(); err != nil {
		return nil, err
	}
	running, err := findRunning(spec, log)
	if err != nil || running != nil {
		return running, err
	}
	overrides, err := kubeadm.ParseOverrides([]byte(spec.Config))
	if err != nil {
		return nil, err
	}
	source, err := parts.FindSource()
	if err != nil {
		return nil, err
	}
	cache := parts.Cache{Dir: parts.DefaultDir(), Source: source, Kubernetes: spec.Kubernetes, Log: log}
	version, err := cache.KubernetesVersion()
	if err != nil {
		return nil, err
	}
	config, err := newConfig(spec, version, overrides)
	if err != nil {
		return nil, err
	}
	// Before anything is cleaned or built: a mistake should show at once.
	if err := config.Validate(); err != nil {
		return nil, err
	}
	if spec.Topology == Systemd {
		if err := overrides.WithoutKubeadm(); err != nil {
			return nil, err
		}
	}
	built, err := cache.All()
	if err != nil {
		return nil, err
	}
	if Exists(spec.Name) {
		fmt.Fprintf(log, "removing what an earlier run of lab %q left\n", spec.Name)
		if err := Down(spec.Name); err != nil {
			return nil, err
		}
	}
	l := &Lab{Spec: spec, Nodes: spec.plan(), APIPort: config.BindPort(), KubectlPath: built.Kubectl(), Created: time.Now().UTC()}
	l.progress, l.startOfClock = log, time.Now()
	if err := l.boot(config, built); err != nil {
		return nil, hint.AddTo(fmt.Errorf("boot lab %q: %w", spec.Name, err), "what was started is kept for inspection; `lab down --name %s` removes it", spec.Name)
	}
	return l, nil
}

// findRunning returns the running lab of this name when it has the shape that
// is asked for, and nothing when there is none.
func findRunning(spec Spec, log io.Writer) (*Lab, error) {
	l, err := Open(spec.Name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		fmt.Fprintf(log, "%v\n", err)
		return nil, nil
	}
	if !l.Ready {
		return nil, nil
	}
	if missing, ok := l.running(); !ok {
		fmt.Fprintf(log, "lab %q is broken: %s is not running\n", spec.Name, missing)
		return nil, nil
	}
	if difference := spec.difference(l.Spec); difference != "" {
		return nil, hint.AddTo(fmt.Errorf("lab %q is running with another shape: asked for %s", spec.Name, difference),
			"`lab down --name %s` first, or choose another --name", spec.Name)
	}
	fmt.Fprintf(log, "lab %q is running already\n", spec.Name)
	return l, nil
}

// newConfig makes the kubeadm configuration of a new lab, with new secrets.
func newConfig(spec Spec, version string, overrides kubeadm.Overrides) (kubeadm.Cluster, error) {
	secret := make([]byte, 32)
	if _, err := rand.Read(secret); err != nil {
		return kubeadm.Cluster{}, err
	}
	key := hex.EncodeToString(secret)
	token := hex.EncodeToString(secret[:11])
	config := kubeadm.Cluster{
		Version:         version,
		PodSubnet:       podSubnet,
		Token:           token[:6] + "." + token[6:22],
		CertificateKey:  key,
		CrashLoopMax:    spec.CrashLoopMax,
		CgroupV1:        hostHasCgroupV1(),
		InUserNamespace: !hostRaisesLimits(),
		Overrides:       overrides,
	}
	for _, n := range spec.plan() {
		if n.Role == EtcdHost {
			config.EtcdEndpoints = append(config.EtcdEndpoints, "https://"+n.IP+":2379")
		}
	}
	if spec.EtcdLayout == Kubespray {
		config.EtcdClient = (&Lab{Nodes: spec.plan()}).kubesprayClient()
	}
	config.Endpoint = fmt.Sprintf("%s:%d", EndpointName, config.BindPort())
	return config, nil
}

// boot takes the lab from nothing to ready.
func (l *Lab) boot(config kubeadm.Cluster, built parts.Parts) error {
	for i := range l.Nodes {
		n := &l.Nodes[i]
		n.Machine = machineName(l.Spec.Name, n.Name)
		n.Dir = l.path("nodes", n.Name)
		n.Layers = l.Spec.layersOf(n.Role, built)
		n.Namespace = l.namespace()
		n.Group = l.group(n.Name)
	}
	if err := os.MkdirAll(l.path("bin"), 0o755); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	if err := raiseLimits(); err != nil {
		return err
	}
	if err := os.Symlink(built.Kubectl(), l.path("bin", "kubectl")); err != nil {
		return err
	}
	if err := l.makeNetwork(); err != nil {
		return err
	}
	if err := l.writeHosts(); err != nil {
		return err
	}
	cluster, err := l.newUnitCluster(config)
	if err != nil {
		return err
	}
	l.step("booting %d nodes", len(l.Nodes))
	if err := l.prepareNodes(config, cluster, built); err != nil {
		return err
	}
	if err := l.prepareKubespray(); err != nil {
		return err
	}
	if err := l.prepareSSH(); err != nil {
		return err
	}
	for i := range l.Nodes {
		if err := l.launch(&l.Nodes[i]); err != nil {
			return err
		}
	}
	if l.Spec.LoadBalancer {
		if err := l.startBalancer(); err != nil {
			return err
		}
	}
	if err := l.eachNode(l.awaitBoot); err != nil {
		return err
	}
	if err := l.eachNode(l.addUsers); err != nil {
		return err
	}
	if err := l.save(); err != nil {
		return err
	}
	if err := l.formEtcd(config); err != nil {
		return err
	}
	if cluster != nil {
		err = l.formUnitCluster(cluster)
	} else {
		err = l.formCluster()
	}
	if err != nil {
		return err
	}
	l.step("connecting the pods of all nodes")
	if err := l.connectPods(); err != nil {
		return err
	}
	l.step("waiting until everything is ready")
	if err := l.awaitReady(config); err != nil {
		return err
	}
	if err := l.forgetRedirection(config); err != nil {
		return err
	}
	l.Ready = true
	if err := l.save(); err != nil {
		return err
	}
	l.step("lab %q is up: %d control planes, %d workers, %d etcd hosts", l.Spec.Name, l.Spec.ControlPlanes, l.Spec.Workers, l.Spec.EtcdHosts)
	return nil
}

// eachNode calls do for all nodes at once.
func (l *Lab) eachNode(do func(*Node) error) error {
	var nodes []*Node
	for i := range l.Nodes {
		nodes = append(nodes, &l.Nodes[i])
	}
	return each(nodes, do)
}

// each calls do for some nodes at once.
func each(nodes []*Node, do func(*Node) error) error {
	errs := make([]error, len(nodes))
	var running sync.WaitGroup
	for i, n := range nodes {
		running.Go(func() { errs[i] = do(n) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// step logs what happens now, and how long after the beginning.
func (l *Lab) step(format string, args ...any) {
	fmt.Fprintf(l.progress, "%4.0fs  %s\n", time.Since(l.startOfClock).Seconds(), fmt.Sprintf(format, args...))
}

// machineName is the name of a node that is unique on the host.
func machineName(lab, name string) string { return "rotate-certs-lab-" + lab + "-" + name }
