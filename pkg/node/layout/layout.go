package layout

import (
	"net"
	"slices"
	"sync"

	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/hostfs"
)

// Options holds the inputs of discovery beside the node's files.
type Options struct {
	// NodeName is the node's name in the API; empty: that of the kubelet's flags, or the host's
	// name.
	NodeName string
	// PodsHidden means that the volumes of pods, and sockets, are deliberately not visible: a
	// missing file or socket there is no finding.
	PodsHidden bool
}

// Layout is the result of discovery. In Node, everything is missing that requires reading a
// certificate or a connection: facts, issuers, authorities, statuses and served certificates.
type Layout struct {
	Node inventory.Node
	// Authorities are files in which certificates of CAs are expected.
	Authorities []AuthorityFile
	// EmbeddedCAs are the bundles in kubeconfigs, PEM, by which their users verify API servers.
	EmbeddedCAs [][]byte
	// Directories are those in which named certificates lie. Package scan finds unnamed ones
	// next to them.
	Directories []Directory
	// KeyUses are files with keys that components have another use for: signing tokens, signing
	// certificates.
	KeyUses []inventory.KeyUse
	// Unclaimed are users of kubeconfigs that no component uses.
	Unclaimed []Unclaimed
	// Subdirectories are those below the others in which copies may lie.
	Subdirectories []string

	// Split are the IDs of certificates whose keys are not in their stores, so that only the
	// certificate is read.
	Split []string

	readers []reader
	named   map[string]bool // real places that components name
	// InMemory are endpoints that serve a certificate which no file of the host has: the
	// component made it at its start. Facts and status are missing.
	InMemory []inventory.InMemory
}

// AuthorityFile is a file of CA certificates that a component names.
type AuthorityFile struct {
	Path string
	Key  string // where a flag names the key too
	// Services trust or sign with it.
	Services []certs.Service
}

// Directory holds certificates that components of the node name.
type Directory struct {
	Path string
	// Services whose certificates lie there.
	Services []certs.Service
}

// discovery is the state of one Discover.
type discovery struct {
	root      hostfs.Root
	opts      Options
	out       Layout
	seen      map[string]int // resolved place of a pair → index in out.Node.Certificates
	kubelet   *kubeletSettings
	apiServer string // where this node's API server can be asked
	// configs are the kubeconfigs that components use: where each really is → host path.
	configs map[string]string
	// kubeconfigs are those that were read, by host path, and units by name.
	kubeconfigs map[string]*KubeconfigFile
	units       map[string]*unit
	// unitList and enabled, the units that are started at boot, are read at the first call.
	unitList func() unitList
	enabled  func() map[string]bool
	// members are the processes of the units in which components run.
	members map[string][]member
	// admins are the kubeconfigs of administrators that their distribution keeps under other names
	// than the usual ones.
	admins []string
	// leftOut are the services of which a component was left out, see isLeftOut.
	leftOut []certs.Service
	// pods are the static pods of this node.
	pods []manifestFile
	// dockerDirectories are those in which Docker keeps the containers of components.
	dockerDirectories []string
	// localIPs are the node's own addresses, read when first asked for.
	localIPs  []net.IP
	localRead bool
}

// DiscoverNode finds the components of a node and the paths of their certificates. It always
// returns a result, with the files that could not be inspected.
func DiscoverNode(root hostfs.Root, opts Options) Layout {
	d := &discovery{
		root: root, opts: opts, seen: map[string]int{}, configs: map[string]string{},
		kubeconfigs: map[string]*KubeconfigFile{}, units: map[string]*unit{},
	}
	d.unitList = sync.OnceValue(func() unitList { return listUnits(root) })
	d.enabled = sync.OnceValue(func() map[string]bool { return d.unitList().enabledUnits(root) })
	ran := listProcesses(root)
	running := ran.components
	d.sortProcesses(running)
	d.members = ran.members
	programs := d.addBundles(ran.bundles)
	if len(programs) == 0 {
		programs = d.findKubelet(running)
	}
	if i := slices.IndexFunc(programs, func(p *program) bool { return p.service == certs.Kubelet }); i >= 0 {
		d.kubelet = d.readKubelet(programs[i])
		programs = append(programs, d.staticPods(d.kubelet.manifests, running)...)
	}
	programs = append(programs, d.otherComponents(running, programs)...)
	d.noteSeconds(running, programs)
	d.noteStopped(programs, ran.bundles)
	d.noteMovedManifests(programs)
	slices.SortStableFunc(programs, func(a, b *program) int { return serviceRank(a.service) - serviceRank(b.service) })

	d.tieStaticPods(programs)
	// Addresses first: client certificates are verified against other components.
	for _, p := range programs {
		if p.service == certs.KubeAPIServer {
			d.apiServer = p.apiServerAddress()
		}
	}
	for _, p := range programs {
		if p.secrets {
			d.out.Node.Components = append(d.out.Node.Components, p.component)
			continue
		}
		switch p.service {
		case certs.Etcd:
			d.addEtcd(p)
		case certs.Kubelet:
			d.addKubelet(p)
		case certs.KubeAPIServer:
			d.addAPIServer(p)
		case certs.KubeControllerManager, certs.KubeScheduler:
			d.addController(p)
		case certs.KubeProxy:
			d.addKubeProxy(p)
		}
		p.leaveUnreachable()
		d.out.Node.Components = append(d.out.Node.Components, p.component)
	}
	d.nameFiles(programs)
	d.findReaders(programs)
	d.addAdmins(programs)
	d.leaveToDistributions(programs)
	d.addDirectories()
	d.addSubdirectories()
	d.addSockets()
	d.out.Node.Name = d.nodeName(opts.NodeName)
	return d.out
}

// serviceRank is a service's position in lists.
func serviceRank(s certs.Service) int { return slices.Index(certs.Services(), s) }

// notInspected records a file or component that could not be inspected.
func (d *discovery) notInspected(s certs.Service, path, reason string) {
	d.out.Node.NotInspected = append(d.out.Node.NotInspected, inventory.NotInspected{Service: s, Path: path, Reason: reason})
}

// notInspectedByDesign records a file or component that is not inspected by design, or that
// needs no action.
func (d *discovery) notInspectedByDesign(s certs.Service, path, reason string) {
	d.out.Node.NotInspected = append(d.out.Node.NotInspected, inventory.NotInspected{Service: s, Path: path, Reason: reason, Informational: true})
}
