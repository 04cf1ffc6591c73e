package store_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	clientcmd "k8s.io/client-go/tools/clientcmd/api/v1"
	kjson "sigs.k8s.io/json"
	"sigs.k8s.io/yaml"

	"github.com/rotate-certs/rotate-certs/pkg/certs/certstest"
	"github.com/rotate-certs/rotate-certs/pkg/inventory"
	"github.com/rotate-certs/rotate-certs/pkg/node/store"
)

var b64 = base64.StdEncoding.EncodeToString

// wrapLines breaks a value into lines as base64(1) does.
func wrapLines(value string, width int, separator string) string {
	var lines []string
	for len(value) > width {
		lines = append(lines, value[:width])
		value = value[width:]
	}
	return strings.Join(append(lines, value), separator)
}

// TestKubeconfigKeepsEveryOtherByte renders a kubeconfig in some style with the old
// and with the new values; a Replace must turn the one into the other. %[1]s is the
// certificate, %[2]s the key of user "me"; %[3]s and %[4]s are another user's.
func TestKubeconfigKeepsEveryOtherByte(t *testing.T) {
	plain := func(s string) string { return s }
	for _, test := range []struct {
		name   string
		text   string
		before func(string) string // how the old values are written
		after  func(string) string // how the new ones are
	}{
		{"as kubeadm writes it", "apiVersion: v1\nkind: Config\nusers:\n- name: me\n  user:\n    client-certificate-data: %[1]s\n    client-key-data: %[2]s\n", plain, plain},
		{"key before certificate, no line end at the end", "users:\n- user:\n    client-key-data: %[2]s\n    client-certificate-data: %[1]s\n  name: me", plain, plain},
		{"comments and odd indentation", "# top\nusers:   # people\n     -    name:   me # it is I\n          user:\n                 client-certificate-data:     %[1]s    # cert\n                 client-key-data: %[2]s\n\n\n# end\n", plain, plain},
		{"Windows line ends", "users:\r\n- name: me\r\n  user:\r\n    client-certificate-data: %[1]s\r\n    client-key-data: %[2]s\r\n", plain, plain},
		{"single quotes", "users:\n- name: me\n  user: {client-certificate-data: '%[1]s', client-key-data: '%[2]s'}\n", plain, plain},
		{"double quotes", "users:\n- name: me\n  user:\n    client-certificate-data: \"%[1]s\"\n    client-key-data: \"%[2]s\"\n", plain, plain},
		{"JSON in one line", `{"apiVersion":"v1","kind":"Config","users":[{"name":"me","user":{"client-certificate-data":"%[1]s","client-key-data":"%[2]s"}}]}`, plain, plain},
		{"JSON of a kind that escapes slashes", `{"users":[{"name":"me","user":{"client-certificate-data":"%[1]s","client-key-data":"%[2]s"}}]}`,
			func(s string) string { return strings.ReplaceAll(s, "/", `\/`) }, plain},
		{"JSON over lines, with tabs", "{\n\t\"users\": [\n\t\t{\n\t\t\t\"name\": \"me\",\n\t\t\t\"user\": {\n\t\t\t\t\"client-certificate-data\": \"%[1]s\",\n\t\t\t\t\"client-key-data\": \"%[2]s\"\n\t\t\t}\n\t\t}\n\t]\n}\n", plain, plain},
		{"several users", "users:\n- name: other\n  user:\n    client-certificate-data: %[3]s\n    client-key-data: %[4]s\n- name: me\n  user:\n    client-certificate-data: %[1]s\n    client-key-data: %[2]s\n- name: robot\n  user:\n    token: abc\n", plain, plain},
		{"fields that no version knows", "users:\n- name: me\n  note: [1, 2.50, ~, yes, 0x1F]\n  user:\n    x-strange: {a: !!str 1}\n    client-certificate-data: %[1]s\n    client-key-data: %[2]s\npreferences: {}\nextra: >\n  folded\n  text\n", plain, plain},
		{"broken into lines, in a literal block", "users:\n- name: me\n  user:\n    client-certificate-data: |\n      %[1]s\n    client-key-data: |-\n      %[2]s\n",
			func(s string) string { return wrapLines(s, 76, "\n      ") }, func(s string) string { return wrapLines(s, 76, "\n      ") }},
		{"broken into lines, in double quotes", "users:\n- name: me\n  user:\n    client-certificate-data: \"%[1]s\"\n    client-key-data: \"%[2]s\"\n",
			func(s string) string { return wrapLines(s, 64, "\\\n      ") }, func(s string) string { return wrapLines(s, 64, "\\\n      ") }},
		{"with line ends as escapes", `{"users":[{"name":"me","user":{"client-certificate-data":"%[1]s\n","client-key-data":"%[2]s\n"}}]}`,
			func(s string) string { return wrapLines(s, 64, `\n`) }, func(s string) string { return wrapLines(s, 64, `\n`) }},
	} {
		t.Run(test.name, func(t *testing.T) {
			ca := certstest.NewCA(t, "ca")
			p := ca.Leaf(t)
			other := ca.Leaf(t)
			m := newMaterial(t, ca, p)
			next := certstest.Pair{Chain: m.Chain, Key: m.Key}
			render := func(p certstest.Pair, write func(string) string) string {
				return strings.NewReplacer("%[1]s", write(b64(p.CertPEM())), "%[2]s", write(b64(p.KeyPEM(t))),
					"%[3]s", b64(other.CertPEM()), "%[4]s", b64(other.KeyPEM(t))).Replace(test.text)
			}
			tree, s := kubeconfigOnDisk(t, render(p, test.before))
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			got, err := tree.Root.ReadFile(s.Cert)
			require.NoError(t, err)
			assert.Equal(t, render(next, test.after), string(got))

			c, err := store.ReadStore(tree.Root, s)
			require.NoError(t, err)
			require.NoError(t, c.KeyErr)
			assert.Equal(t, m.Chain, c.Chain)
		})
	}
}

func kubeconfigOnDisk(t *testing.T, text string) (*certstest.Tree, inventory.Store) {
	t.Helper()
	tree := certstest.Kubeadm(t, "cp1")
	tree.Write(t, "/home/me/.kube/config", []byte(text), 0o600)
	return tree, inventory.Store{Kind: inventory.Kubeconfig, Cert: "/home/me/.kube/config", User: "me"}
}

// TestKubeconfigReplacesOnlyThatUsersValues: the same bytes may stand elsewhere, as
// another user's value, as a part of it, in a comment, in a later document.
func TestKubeconfigReplacesOnlyThatUsersValues(t *testing.T) {
	ca := certstest.NewCA(t, "root").Intermediate(t, "intermediate")
	p := ca.Leaf(t)
	alone := certstest.Pair{Chain: p.Chain[:1], Key: p.Key}
	m := newMaterial(t, ca, alone)
	next := certstest.Pair{Chain: m.Chain, Key: m.Key}
	entry := func(name string, p certstest.Pair) string {
		return fmt.Sprintf("- name: %s\n  user:\n    client-certificate-data: %s\n    client-key-data: %s\n", name, b64(p.CertPEM()), b64(p.KeyPEM(t)))
	}
	comment := "# was " + b64(alone.CertPEM()) + " and " + b64(alone.KeyPEM(t)) + "\n"
	for _, test := range []struct{ name, before, after string }{
		{"twin before", entry("twin", alone), ""},
		{"twin after", "", entry("twin", alone)},
		{"twins on both sides", entry("a", alone) + entry("b", alone), entry("c", alone) + entry("d", alone)},
		{"one whose certificate begins the same", entry("longer", p), entry("longer2", p)},
		{"comments", comment, comment},
		{"a later document", "", "---\nusers:\n" + entry("me", alone)},
	} {
		t.Run(test.name, func(t *testing.T) {
			file := func(p certstest.Pair) string { return "users:\n" + test.before + entry("me", p) + test.after }
			tree, s := kubeconfigOnDisk(t, file(alone))
			require.NoError(t, store.ReplaceStore(tree.Root, s, m))
			got, err := tree.Root.ReadFile(s.Cert)
			require.NoError(t, err)
			assert.Equal(t, file(next), string(got))
		})
	}
}

func TestKubeconfigThatCannotBeReplacedByBytes(t *testing.T) {
	ca := certstest.NewCA(t, "ca")
	p := ca.Leaf(t)
	m := newMaterial(t, ca, p)
	cert := b64(p.CertPEM())
	key := b64(p.KeyPEM(t))
	unicode := func(s string) string { return strings.ReplaceAll(s, "L", `\u004c`) }
	for _, test := range []struct{ name, text, err string }{
		{"two users share a value through an anchor", "users:\n- name: me\n  user:\n    client-certificate-data: &c " + cert + "\n    client-key-data: " + key +
			"\n- name: you\n  user:\n    client-certificate-data: *c\n", "without a change elsewhere"},
		{"escaped letters", `{"users":[{"name":"me","user":{"client-certificate-data":"` + unicode(cert) + `","client-key-data":"` + key + `"}}]}`, "without a change elsewhere"},
		{"key in a file of its own", "users:\n- name: me\n  user:\n    client-certificate-data: " + cert + "\n    client-key: /k\n", `user "me" has no client-key-data`},
		{"too many twins", "users:\n" + strings.Repeat("# "+cert+"\n", 100) + "- name: me\n  user:\n    client-certificate-data: " + cert + "\n    client-key-data: " + key + "\n", "without a change elsewhere"},
	} {
		t.Run(test.name, func(t *testing.T) {
			tree, s := kubeconfigOnDisk(t, test.text)
			before := takePicture(t, string(tree.Root))
			err := store.ReplaceStore(tree.Root, s, m)
			require.ErrorContains(t, err, test.err)
			assert.NotContains(t, err.Error(), key[:40])
			assert.Empty(t, changedPaths(before, takePicture(t, string(tree.Root))))
		})
	}
}

// FuzzKubeconfigReplace checks with client-go's own types: every file is refused, or that user
// has the new values and everything else is unchanged.
func FuzzKubeconfigReplace(f *testing.F) {
	const cert, key = "Y2VydGlmaWNhdGU=", "a2V5L2tleStrZXk="
	for _, text := range []string{
		"users:\n- name: me\n  user:\n    client-certificate-data: " + cert + "\n    client-key-data: " + key + "\n",
		"users:\n- name: you\n  user: {client-certificate-data: " + cert + "}\n- name: me\n  user: {client-certificate-data: '" + cert + "', client-key-data: \"" + key + "\"}\n",
		`{"users":[{"name":"me","user":{"client-certificate-data":"` + cert + `","client-key-data":"a2V5L\/2tleStrZXk="}}]}`,
		"users:\n- name: me\n  user:\n    client-certificate-data: |\n      Y2Vy\n      dGlm\n      aWNh\n      dGU=\n    client-key-data: &k " + key + "\nx: *k\n",
		"a: &a [x,x]\nb: &b [*a,*a]\nusers: [*b]\n",
		"users: {}\n---\nusers: []\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		got, err := store.ReplaceInKubeconfig(data, "me", []byte("new certificate"), []byte("new key"))
		if err != nil {
			require.Nil(t, got)
			return
		}
		var before, after clientcmd.Config
		if decodeAsClientGo(data, &before) != nil {
			return // files that client-go cannot read are not used
		}
		require.NoError(t, decodeAsClientGo(got, &after))
		for i, u := range before.AuthInfos {
			if u.Name == "me" {
				require.Equal(t, "new certificate", string(after.AuthInfos[i].AuthInfo.ClientCertificateData))
				require.Equal(t, "new key", string(after.AuthInfos[i].AuthInfo.ClientKeyData))
				after.AuthInfos[i] = u
			}
		}
		x, err := json.Marshal(before)
		require.NoError(t, err)
		y, err := json.Marshal(after)
		require.NoError(t, err)
		require.JSONEq(t, string(x), string(y))
	})
}

// decodeAsClientGo distinguishes fields by case, as client-go does.
func decodeAsClientGo(data []byte, into *clientcmd.Config) error {
	asJSON, err := yaml.YAMLToJSON(data)
	if err != nil {
		return err
	}
	return kjson.UnmarshalCaseSensitivePreserveInts(asJSON, into)
}
