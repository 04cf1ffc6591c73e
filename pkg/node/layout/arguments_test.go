package layout

import (
	"slices"
	"testing"
)

func TestArgumentsReadFlagsAsKubernetesDoes(t *testing.T) {
	args := arguments{
		"--cert-dir", "/a", "--cert-dir=/b", "-single=1", "--under_score=2", "--empty=", "--switch", "word",
		"--list= a, b,,c", "--off=false", "--last",
	}
	for flag, want := range map[string]string{
		"cert-dir": "/b", "single": "1", "under-score": "2", "empty": "", "last": "", "missing": "",
	} {
		if got := args.lastValue(flag); got != want {
			t.Errorf("value(%q) = %q, want %q", flag, got, want)
		}
	}
	if _, set := args.lookupFlag("empty"); !set {
		t.Error("a flag with an empty value counts as not set")
	}
	if got := args.allValues("cert-dir"); !slices.Equal(got, []string{"/a", "/b"}) {
		t.Errorf("values = %q", got)
	}
	if got := args.listValue("list"); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("list = %q", got)
	}
	for flag, want := range map[string][2]bool{
		"switch": {true, true}, "off": {false, true}, "last": {true, true}, "missing": {false, false},
	} {
		if v, set := args.booleanFlag(flag); v != want[0] || set != want[1] {
			t.Errorf("boolean(%q) = %v, %v, want %v", flag, v, set, want)
		}
	}
}

func TestRedactHidesValuesThatCouldBeSecrets(t *testing.T) {
	for arg, want := range map[string]string{
		"--token=abcdef":                           "--token=(redacted)",
		"--initial-cluster-token=x":                "--initial-cluster-token=(redacted)",
		"--my_password=x":                          "--my_password=(redacted)",
		"--token-auth-file=/etc/tokens":            "--token-auth-file=/etc/tokens",
		"--service-account-key-file=/etc/sa.pub":   "--service-account-key-file=/etc/sa.pub",
		"--enable-bootstrap-token-auth=true":       "--enable-bootstrap-token-auth=true",
		"--etcd-servers=https://u:pw@10.0.0.1:1,b": "--etcd-servers=https://redacted@10.0.0.1:1,b",
		"--tls-cert-file=/x.crt":                   "--tls-cert-file=/x.crt",
	} {
		if got := redactArgs(arguments{arg}); !slices.Equal(got, []string{want}) {
			t.Errorf("redact(%q) = %q, want %q", arg, got, want)
		}
	}
	if got := redactArgs(arguments{"--token", "abc", "--v", "2"}); !slices.Equal(got, []string{"--token", "(redacted)", "--v", "2"}) {
		t.Errorf("a secret in a word of its own: %q", got)
	}
}
