package plugin

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	corev1 "k8s.io/api/core/v1"

	v1alpha1 "github.com/rotate-certs/rotate-certs/pkg/api/v1alpha1"
	"github.com/rotate-certs/rotate-certs/pkg/certs"
	"github.com/rotate-certs/rotate-certs/pkg/cluster/kubenode"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/printers"
)

// troubled is a cluster that has everything that check can report.
func troubled() ([]inventory.Node, []plan.NotInspected) {
	cp1, cp2, w1 := controlPlane("cp1"), controlPlane("cp2"), worker("w1")
	soon := leaf(certs.Etcd, "etcd-peer", "etcd-ca", 7*day)
	cp1.Certificates[0] = serving(soon, "10.0.0.1:2380", soon.FingerprintSHA256, 7*day)
	cp2.Certificates[1] = serving(leaf(certs.KubeAPIServer, "apiserver", "kubernetes", 364*day), "10.0.0.2:6443", "0123", 6*day)
	cp2.Certificates[4] = inventory.Certificate{
		Service: certs.Admin, Name: "admin.conf", Status: certs.Invalid, Reason: "no certificate in it: user kubernetes-admin has a token",
		Store: inventory.Store{Kind: inventory.Kubeconfig, Cert: "/etc/kubernetes/admin.conf"},
	}
	w1.Certificates = append(w1.Certificates, inventory.Certificate{
		Service: certs.Kubelet, Name: "kubelet-serving", Facts: facts("w1", "w1-ca@1795", -3*day), Status: certs.Expired,
		Served: []inventory.Served{{Address: "10.0.0.9:10250", Error: "connection refused"}},
		Store:  inventory.Store{Kind: inventory.Pair, Cert: "/var/lib/kubelet/pki/kubelet.crt"},
	})
	cp1.Findings = []inventory.Finding{{Kind: inventory.FileMode, Service: certs.Etcd, Path: "/etc/kubernetes/pki/etcd/peer.key", Text: "mode 0644, CIS 1.1.21 wants at most 0600"}}
	cp1.Unused = []inventory.UnusedCertificate{{Kind: inventory.UnusedBackup, Path: "/etc/kubernetes/admin.conf.old", User: "kubernetes-admin",
		Facts: certs.Facts{NotAfter: noon.Add(3 * day)}, Reason: "its name is that of a backup of admin.conf"}}
	w1.NotInspected = []inventory.NotInspected{{Service: certs.KubeProxy, Path: "/etc/kube-proxy.conf", Reason: "permission denied"}}
	return []inventory.Node{w1, cp2, cp1}, []plan.NotInspected{
		{Node: "w7", Reason: "NotReady for 14m"},
		{Node: "win1", Reason: "windows/amd64 has no node program", Informational: true},
	}
}

func listOf(o printers.ListOptions) v1alpha1.CertificateList {
	nodes, missing := troubled()
	o.Now, o.Whole = noon, true
	return printers.ListCertificates(nodes, missing, o)
}

func TestCheckOutput(t *testing.T) {
	list := listOf(printers.ListOptions{})
	for f, file := range map[printers.Format]string{printers.Table: "check.txt", printers.Wide: "check-wide.txt", printers.YAML: "check.yaml", printers.Name: "check-name.txt"} {
		var out bytes.Buffer
		shown := list
		if f == printers.YAML {
			shown = listOf(printers.ListOptions{Services: []certs.Service{certs.Etcd}})
		}
		require.NoError(t, printers.PrintCertificates(&out, f, shown, noon))
		if f == printers.Table {
			for _, h := range append(printers.CheckHints(list, noon), printers.CheckVerdict(list, displayName, nil, noon)) {
				out.WriteString(h + "\n")
			}
		}
		golden(t, file, out.String())
	}
}

// listedAs is the only certificate of a node as a list has it.
func listedAs(c inventory.Certificate, o printers.ListOptions) v1alpha1.Certificate {
	return printers.ListCertificates([]inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{c}}}, nil, o).Items[0]
}

func TestEmptyListsAreNeverNull(t *testing.T) {
	text, err := json.Marshal(printers.ListCertificates(nil, nil, printers.ListOptions{Now: noon}))
	require.NoError(t, err)
	assert.JSONEq(t, `{"apiVersion":"rotate-certs.io/v1alpha1","kind":"CertificateList","items":[],"authorities":[],"notInspected":[],"findings":[],"unused":[]}`, string(text))

	text, err = json.Marshal(printers.ListCertificates([]inventory.Node{{Name: "w1", Certificates: []inventory.Certificate{{Service: certs.Kubelet}}, Authorities: []inventory.Authority{{}}}}, nil, printers.ListOptions{Now: noon}))
	require.NoError(t, err)
	assert.NotContains(t, string(text), "null")
	assert.Contains(t, string(text), `"sans":[],"usages":[]`)
}

func TestStatusFollowsWithinUnlessTheNodeFoundAProblem(t *testing.T) {
	for name, tt := range map[string]struct {
		node   certs.Status
		left   time.Duration
		within time.Duration
		want   certs.Status
	}{
		"far":                               {certs.OK, 100 * day, 0, certs.OK},
		"near by default":                   {certs.OK, 29 * day, 0, certs.Expiring},
		"soon by a longer --within":         {certs.OK, 100 * day, 120 * day, certs.Expiring},
		"near for the node, not for us":     {certs.Expiring, 29 * day, 7 * day, certs.OK},
		"ended since the scan":              {certs.OK, -time.Second, 0, certs.Expired},
		"invalid stays":                     {certs.Invalid, 100 * day, 0, certs.Invalid},
		"not served stays":                  {certs.NotServed, 3 * day, 0, certs.NotServed},
		"expired by the node's clock stays": {certs.Expired, time.Hour, time.Minute, certs.Expired},
		"not yet valid stays":               {certs.NotYetValid, 100 * day, 0, certs.NotYetValid},
	} {
		got := listedAs(inventory.Certificate{Facts: facts("a", "b", tt.left), Status: tt.node}, printers.ListOptions{Now: noon, Within: tt.within})
		assert.Equal(t, tt.want, got.Status, name)
		if got.Status == certs.OK {
			assert.Empty(t, got.Reason, name)
		}
	}
}

func TestOneBadEndpointOutweighsGoodOnes(t *testing.T) {
	c := leaf(certs.Etcd, "etcd-server", "etcd-ca", 300*day)
	good := inventory.Served{Address: "127.0.0.1:2379", FingerprintSHA256: c.FingerprintSHA256}
	bad, silent := inventory.Served{Address: "10.0.0.1:2379", FingerprintSHA256: "ff"}, inventory.Served{Address: "[::1]:2379", Error: "refused"}
	for name, tt := range map[string]struct {
		served []inventory.Served
		word   string
	}{
		"nothing serves it":  {nil, printers.Nothing},
		"all good":           {[]inventory.Served{good}, "yes"},
		"one is silent":      {[]inventory.Served{silent, good}, "yes"},
		"none answers":       {[]inventory.Served{silent}, "no answer"},
		"one is of yore":     {[]inventory.Served{good, bad, silent}, "no"},
		"order is no matter": {[]inventory.Served{bad, good}, "no"},
	} {
		c.Served = tt.served
		assert.Equal(t, tt.word, printers.ServedWord(listedAs(c, printers.ListOptions{Now: noon})), name)
	}
}

func TestUnusedCertificatesDoNotNeedAttention(t *testing.T) {
	cp1 := controlPlane("cp1")
	before := printers.ListCertificates([]inventory.Node{cp1}, nil, printers.ListOptions{Now: noon})
	cp1.Unused = []inventory.UnusedCertificate{
		{Kind: inventory.UnusedFile, Path: "/etc/kubernetes/jane.conf", User: "jane", Facts: certs.Facts{NotAfter: noon.Add(300 * day)}, Reason: "no component names it"},
		{Kind: inventory.UnusedBackup, Path: "/etc/kubernetes/admin.conf.old", Facts: certs.Facts{NotAfter: noon.Add(-day)}, Reason: "a backup"},
		{Kind: inventory.UnusedFile, Path: "/etc/kubernetes/broken.conf", Reason: "not valid YAML"},
	}
	list := printers.ListCertificates([]inventory.Node{cp1}, nil, printers.ListOptions{Now: noon})
	require.Len(t, list.Unused, 3)
	assert.Equal(t, printers.NeedsAttention(before), printers.NeedsAttention(list))
	assert.Empty(t, printers.ListCertificates([]inventory.Node{cp1}, nil, printers.ListOptions{Now: noon, Services: []certs.Service{certs.Etcd}}).Unused)
	var text bytes.Buffer
	require.NoError(t, printers.PrintCertificates(&text, printers.Table, list, noon))
	_, section, _ := strings.Cut(text.String(), "Not in use, never renewed\n")
	lines := strings.Split(section, "\n")
	assert.Contains(t, lines[0], "/etc/kubernetes/broken.conf: not valid YAML")
	assert.Contains(t, lines[1], "/etc/kubernetes/admin.conf.old: expired ")
	assert.Contains(t, lines[2], "/etc/kubernetes/jane.conf: valid until ")
	assert.Contains(t, lines[2], "user jane; no component names it")
}

func TestFindingsDoNotNeedAttention(t *testing.T) {
	cp1 := controlPlane("cp1")
	cp1.Certificates[1].SANs = []string{"cp1", "10.0.0.1"}
	cp1.Certificates[1].Usages = []string{"server auth"}
	for range 14 {
		cp1.Findings = append(cp1.Findings, inventory.Finding{Kind: inventory.FileOwner, Path: "/x", Text: "owned by 1:1"})
	}
	moved := kubenode.Node{Name: "cp1", Addresses: []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: "10.0.0.2"}}}
	list := printers.ListCertificates([]inventory.Node{cp1}, nil, printers.ListOptions{Now: noon, MoreFindings: nameFindings([]kubenode.Node{moved})})
	require.Len(t, list.Findings, 15)
	assert.Equal(t, "Names", list.Findings[14].Kind)
	assert.Contains(t, list.Findings[14].Message, "apiserver does not have the node's address 10.0.0.2")
	assert.False(t, printers.NeedsAttention(list))
	assert.Len(t, printers.ListCertificates([]inventory.Node{cp1}, nil, printers.ListOptions{Now: noon, MoreFindings: nameFindings([]kubenode.Node{moved}), Services: []certs.Service{certs.Etcd}}).Findings, 14,
		"another service's drift is not shown, a CA's is")

	var out bytes.Buffer
	require.NoError(t, printers.PrintCertificates(&out, printers.Table, list, noon))
	assert.Contains(t, out.String(), "and 3 more: -o wide lists all")
	out.Reset()
	require.NoError(t, printers.PrintCertificates(&out, printers.Wide, list, noon))
	assert.Contains(t, out.String(), "the node's address 10.0.0.2")
}

func TestServicesNarrowTheListAndItsAuthorities(t *testing.T) {
	list := listOf(printers.ListOptions{Services: []certs.Service{certs.Etcd}})
	require.Len(t, list.Items, 2)
	require.Len(t, list.Authorities, 1)
	assert.Equal(t, "etcd-ca", list.Authorities[0].Name)
	for _, x := range list.NotInspected {
		assert.NotEqual(t, certs.KubeProxy, x.Service, "another service's trouble is not shown")
	}
	assert.Len(t, list.NotInspected, 2, "but NotReady nodes are: they may run it")
}

func TestMissingControlPlaneIsExplained(t *testing.T) {
	nodes := []inventory.Node{worker("w1")}
	reasons := func(o printers.ListOptions, missing ...plan.NotInspected) (out []string) {
		o.Now = noon
		for _, x := range printers.ListCertificates(nodes, missing, o).NotInspected {
			out = append(out, x.Reason)
		}
		return out
	}
	assert.Equal(t, []string{"EKS manages the control plane and its certificates"}, reasons(printers.ListOptions{Whole: true, Managed: "EKS"}))
	assert.Contains(t, reasons(printers.ListOptions{Whole: true})[0], "managed elsewhere")
	assert.Empty(t, reasons(printers.ListOptions{}), "not when only some nodes were requested")
	assert.Empty(t, reasons(printers.ListOptions{Whole: true, Services: []certs.Service{certs.Kubelet}}), "not when only kubelets were requested")
	assert.Equal(t, []string{"NotReady"}, reasons(printers.ListOptions{Whole: true}, plan.NotInspected{Node: "cp1", Reason: "NotReady"}),
		"it may be on the NotReady node")
}

func TestVerdictSaysWhatToDoNext(t *testing.T) {
	well := v1alpha1.CertificateList{Items: []v1alpha1.Certificate{
		{Node: "cp1", Name: "apiserver", Status: certs.OK, Facts: facts("a", "b", 300*day)}, {Node: "w1", Name: "kubelet-client", Status: certs.OK, Facts: facts("a", "b", 200*day)}}}
	assert.Equal(t, "All 2 certificates are OK. The next one expires in 200d (kubelet-client on w1, 2027-06-12 12:00 UTC).", printers.CheckVerdict(well, displayName, nil, noon))
	assert.False(t, printers.NeedsAttention(well))

	notReady := well
	notReady.NotInspected = []v1alpha1.NotInspected{{Node: "w7", Reason: "NotReady"}}
	assert.Contains(t, printers.CheckVerdict(notReady, displayName, nil, noon), "1 item was not inspected: see above.")
	assert.True(t, printers.NeedsAttention(notReady), "a node that was not inspected needs attention")

	assert.Equal(t, "4 of 12 certificates need attention. 1 cannot be renewed here: -o wide says why. 2 items were not inspected: see above. "+
		"Next: kubectl rotate-certs --context lab --service etcd,kubelet,kube-apiserver --node cp1,w1",
		printers.CheckVerdict(listOf(printers.ListOptions{}), displayName+" --context lab", []string{"cp1", "w1"}, noon), "admin cannot be rotated, so it is not proposed")

	soon := v1alpha1.CertificateList{Items: slices.Clone(well.Items)}
	soon.Items[1].Status = certs.Expiring
	soon.Items[1].Service = certs.Kubelet
	assert.Contains(t, printers.CheckVerdict(soon, displayName, nil, noon), "Next: kubectl rotate-certs --service kubelet --node w1", "nothing restarts on other nodes")
	soon.Items[0].Status = certs.Expiring
	soon.Items[0].Service = certs.KubeAPIServer
	assert.NotContains(t, printers.CheckVerdict(soon, displayName, nil, noon), "--node", "all nodes are affected")

	old := well
	old.Authorities = []v1alpha1.Authority{{Name: "kubernetes", Status: certs.Expiring, Facts: facts("kubernetes", "kubernetes", 20*day)}}
	assert.Contains(t, printers.CheckVerdict(old, displayName, nil, noon), "1 CA needs attention")
	assert.True(t, printers.NeedsAttention(old))
	assert.Contains(t, printers.CheckHints(old, noon)[0], "CA kubernetes expires in 20d")
}

// TestOnlyActionableItemsNeedAttention: a cron job fails for nothing else.
func TestOnlyActionableItemsNeedAttention(t *testing.T) {
	attention := func(change func(n *inventory.Node)) bool {
		n := controlPlane("cp1")
		change(&n)
		return printers.NeedsAttention(printers.ListCertificates([]inventory.Node{n}, nil, printers.ListOptions{Now: noon, Whole: true}))
	}
	orphan := func(left time.Duration) func(*inventory.Node) {
		return func(n *inventory.Node) {
			c := leaf(certs.KubeAPIServer, "apiserver-etcd-client", "etcd-ca", left)
			c.Issuer.Kind, c.Reason = inventory.NoIssuer, "the key of its CA is not here"
			n.Certificates[2] = c
		}
	}
	gap := func(informational bool) func(*inventory.Node) {
		return func(n *inventory.Node) {
			n.NotInspected = []inventory.NotInspected{{Service: certs.KubeProxy, Reason: "x", Informational: informational}}
		}
	}
	for name, tt := range map[string]struct {
		change func(*inventory.Node)
		want   bool
	}{
		"nothing":                          {func(*inventory.Node) {}, false},
		"cannot be renewed, far":           {orphan(300 * day), false},
		"cannot be renewed, near":          {orphan(7 * day), true},
		"drift":                            {func(n *inventory.Node) { n.Findings = []inventory.Finding{{Kind: inventory.FileMode}} }, false},
		"unused, expired":                  {func(n *inventory.Node) { n.Unused = []inventory.UnusedCertificate{{Facts: facts("a", "b", -day)}} }, false},
		"cannot be inspected by design":    {gap(true), false},
		"could not be inspected":           {gap(false), true},
		"what runs it cannot be restarted": {func(n *inventory.Node) { n.Components[4].Runtime = inventory.None }, false},
	} {
		assert.Equal(t, tt.want, attention(tt.change), name)
	}
	managed := printers.ListCertificates([]inventory.Node{worker("w1")}, nil, printers.ListOptions{Now: noon, Whole: true, Managed: "EKS"})
	assert.Len(t, managed.NotInspected, 1)
	assert.False(t, printers.NeedsAttention(managed), "the control plane is another's")
}

func TestNotRenewableCertificatesAreCounted(t *testing.T) {
	n := controlPlane("cp1")
	c := &n.Certificates[2]
	c.Issuer.Kind, c.Reason = inventory.NoIssuer, "the key of its CA is not here"
	list := printers.ListCertificates([]inventory.Node{n}, nil, printers.ListOptions{Now: noon})
	assert.Equal(t, "the key of its CA is not here", list.Items[3].NotRenewable)
	assert.Contains(t, printers.CheckVerdict(list, displayName, nil, noon), "All 5 certificates are OK.")
	assert.Contains(t, printers.CheckVerdict(list, displayName, nil, noon), " 1 cannot be renewed here: -o wide says why.")
	assert.Empty(t, printers.CheckHints(list, noon))

	list = printers.ListCertificates([]inventory.Node{n}, nil, printers.ListOptions{Now: noon, Within: 310 * day, Services: []certs.Service{certs.KubeAPIServer}})
	assert.Contains(t, printers.CheckHints(list, noon), "cp1: apiserver-etcd-client /etc/kubernetes/pki/apiserver-etcd-client.crt expires in 300d, and cannot be renewed here: the key of its CA is not here.")
	list.Items = list.Items[1:]
	assert.NotContains(t, printers.CheckVerdict(list, displayName, nil, noon), "Next:", "a rotation would not help")
}

// TestCertificatesThatAnotherNodeSignsAreRenewable: no other node signs for an administrator on a worker.
func TestCertificatesThatAnotherNodeSignsAreRenewable(t *testing.T) {
	nodes := []inventory.Node{withoutEtcdKey(controlPlane("cp1")), withEtcdKey(controlPlane("cp2"))}
	for i := range nodes[0].Certificates[:3] {
		nodes[0].Certificates[i].Subject = "CN=root,O=system:masters"
	}
	members := []kubenode.Node{{Name: "cp1", ControlPlane: true}, {Name: "cp2", ControlPlane: true}}
	list := printers.ListCertificates(withRoles(nodes, members), nil, printers.ListOptions{Now: noon})
	assert.NotContains(t, printers.CheckVerdict(list, displayName, nil, noon), "cannot be renewed")

	members[0].ControlPlane = false
	list = printers.ListCertificates(withRoles(nodes, members), nil, printers.ListOptions{Now: noon})
	assert.Contains(t, printers.CheckVerdict(list, displayName, nil, noon), "2 cannot be renewed here")
}

// TestRefusedCertificateIsProposed: of a certificate that Go programs refuse, check has the reason
// and the command that renews it.
func TestRefusedCertificateIsProposed(t *testing.T) {
	c := leaf(certs.KubeAPIServer, "apiserver", "kubernetes", 300*day)
	c.Status = certs.Invalid
	c.Reason = "is signed with MD5-RSA, which Go programs such as kube-apiserver refuse"
	c.Refused = true
	c.Issuer.Kind = inventory.LocalCA
	list := printers.ListCertificates([]inventory.Node{{Name: "cp1", Certificates: []inventory.Certificate{c}}}, nil, printers.ListOptions{Now: noon})
	assert.Contains(t, strings.Join(printers.CheckHints(list, noon), "\n"), c.Reason+". A rotation renews it.")
	assert.Contains(t, printers.CheckVerdict(list, displayName, nil, noon), "Next: kubectl rotate-certs --service kube-apiserver")
}

func TestHintsAreBounded(t *testing.T) {
	list := v1alpha1.CertificateList{}
	for range 40 {
		list.Items = append(list.Items, v1alpha1.Certificate{Node: "w", Status: certs.Invalid, Reason: "no key"})
	}
	got := printers.CheckHints(list, noon)
	require.Len(t, got, printers.MaxHints+1)
	assert.Equal(t, "and 28 more: -o wide has every reason.", got[printers.MaxHints])
}

func TestStatusesAreColouredOnlyAtTheEndOfALine(t *testing.T) {
	in := "NODE   STATUS\nEXPIRED-node   OK\nw1   EXPIRED\nw2   NOT SERVED\n"
	assert.Equal(t, "NODE   STATUS\nEXPIRED-node   OK\nw1   \x1b[31mEXPIRED\x1b[0m\nw2   \x1b[33mNOT SERVED\x1b[0m\n", paintStatus(in))
}

// TestRenewedCANeedsNoAttention: its end counts only where its renewal is missing.
func TestRenewedCANeedsNoAttention(t *testing.T) {
	old := authority("kubernetes", -day, "")
	renewed := old
	renewed.Renewed, renewed.Status, renewed.Reason = true, certs.OK, "renewed with the same key"
	nodes := []inventory.Node{{Name: "cp1", Authorities: []inventory.Authority{renewed}}, {Name: "cp2", Authorities: []inventory.Authority{renewed}}}
	list := printers.ListCertificates(nodes, nil, printers.ListOptions{Now: noon})
	require.Len(t, list.Authorities, 1)
	assert.Equal(t, certs.OK, list.Authorities[0].Status)
	assert.False(t, printers.NeedsAttention(list))
	var out bytes.Buffer
	require.NoError(t, printers.PrintCertificates(&out, printers.Table, list, noon))
	assert.Contains(t, out.String(), "RENEWED")

	nodes[1].Authorities[0] = old
	list = printers.ListCertificates(nodes, nil, printers.ListOptions{Now: noon})
	assert.Equal(t, certs.Expired, list.Authorities[0].Status, "cp2 has nothing but the old one")
}
