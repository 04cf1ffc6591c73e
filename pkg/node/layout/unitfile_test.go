package layout

import (
	"slices"
	"strings"
	"testing"

	"github.com/rotate-certs/rotate-certs/pkg/node/layout/layouttest"
)

func TestSplitWordsAsSystemd(t *testing.T) {
	for line, want := range map[string][]string{
		`a  b	c`:                 {"a", "b", "c"},
		`"a b" 'c "d"' e`:        {"a b", `c "d"`, "e"},
		`--x="a b" --y='c'`:      {"--x=a b", "--y=c"},
		`a\ b "say \"hi\"" \x41`: {"a b", `say "hi"`, `\x41`},
		`"" ''`:                  {"", ""},
		`"unclosed a`:            {"unclosed a"},
		``:                       nil,
	} {
		if got := splitWords(line); !slices.Equal(got, want) {
			t.Errorf("splitWords(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestExpandUnit(t *testing.T) {
	env := map[string]string{"ARGS": "--a=1 '--b=2 3'", "DIR": "/x y", "EMPTY": ""}
	for line, want := range map[string][]string{
		`kubelet $ARGS`:          {"kubelet", "--a=1", "--b=2 3"},
		`kubelet ${ARGS}`:        {"kubelet", "--a=1 '--b=2 3'"},
		`kubelet --d=${DIR}/pki`: {"kubelet", "--d=/x y/pki"},
		`kubelet "$ARGS"`:        {"kubelet", "$ARGS"},
		`kubelet $EMPTY $NONE x`: {"kubelet", "x"},
		`kubelet $$ARGS ${`:      {"kubelet", "$ARGS", "${"},
	} {
		if got := expandUnit(lexWords(line), env); !slices.Equal(got, want) {
			t.Errorf("expandUnit(%q) = %q, want %q", line, got, want)
		}
	}
}

func TestExpandPod(t *testing.T) {
	env := map[string]string{"IP": "10.0.0.1"}
	for text, want := range map[string]string{
		"--a=$(IP):1":   "--a=10.0.0.1:1",
		"$(NONE)":       "$(NONE)",
		"$$(IP)":        "$(IP)",
		"$IP $( $(IP":   "$IP $( $(IP",
		"100$":          "100$",
		"$(IP)$(IP)":    "10.0.0.110.0.0.1",
		"a$$b":          "a$b",
		"no variables.": "no variables.",
	} {
		if got := expandPod(text, env); got != want {
			t.Errorf("expandPod(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestLoadUnitWithDropIns(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/usr/lib/systemd/system/etcd@.service", strings.Join([]string{
		"# comment", "[Unit]", "ExecStart=/not/this/section", "[Service]",
		"Environment=A=1 \"B=two words\"", "Environment=C=vendor", "EnvironmentFile=-/etc/none", "EnvironmentFile=/etc/etcd.env", "EnvironmentFile=-/etc/etcd.d/*.env",
		"WorkingDirectory=-/var/lib/etcd", "ExecStart=-/usr/bin/etcd --name=%i \\", "; comment between", "  --data-dir=${D} \\", "  $MORE",
	}, "\n"))
	n.WriteFile("/etc/etcd.env", "# comment\nD='/data dir'\nMORE=\"--x=1 --y=2\"\nC=file\nnot a line\n")
	n.WriteFile("/etc/etcd.d/1.env", "F=first\nG=first\n")
	n.WriteFile("/etc/etcd.d/2.env", "G=second\n")
	n.WriteFile("/etc/etcd.d/.3.env", "G=hidden\n")
	n.WriteFile("/etc/etcd.d/4.env.bak", "G=backup\n")
	n.WriteFile("/usr/lib/systemd/system/etcd@.service.d/10-a.conf", "[Service]\nEnvironment=A=vendor\n")
	n.WriteFile("/etc/systemd/system/etcd@.service.d/10-a.conf", "[Service]\nEnvironment=A=admin\n")
	n.WriteFile("/etc/systemd/system/etcd@n1.service.d/20-b.conf", "[Service]\nEnvironment=E=instance\n")

	u, ok := loadUnit(n.Root, "etcd@n1.service")
	if !ok {
		t.Fatal("the unit was not found")
	}
	want := []string{"/usr/bin/etcd", "--name=n1", "--data-dir=/data dir", "--x=1", "--y=2"}
	if got := u.expandedCommands(); len(got) != 1 || !slices.Equal(got[0], want) {
		t.Errorf("commands = %q, want %q", got, want)
	}
	for name, want := range map[string]string{"A": "admin", "B": "two words", "C": "file", "E": "instance", "F": "first", "G": "second"} {
		if u.env[name] != want {
			t.Errorf("%s = %q, want %q", name, u.env[name], want)
		}
	}
	if u.workDir != "/var/lib/etcd" || !u.preset {
		t.Errorf("work directory %q, preset %v", u.workDir, u.preset)
	}

	n.LinkFile("/etc/systemd/system/masked.service", "/dev/null")
	n.WriteFile("/usr/lib/systemd/system/masked.service", "[Service]\nExecStart=/usr/bin/etcd --a\n")
	if _, ok := loadUnit(n.Root, "masked.service"); ok {
		t.Error("a masked unit was taken for one that starts something")
	}
}

// TestStoppedInstanceOfATemplate: only the link that starts it at boot has its name.
func TestStoppedInstanceOfATemplate(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/machine-id", "0123456789abcdef\n")
	n.WriteFile("/usr/lib/systemd/system/etcd@.service", "[Service]\nExecStart=/usr/bin/etcd --name=%H-%i --cert-file=/pki/%i.crt --key-file=/pki/%l.key --data-dir=/data/%m --listen-client-urls=https://127.0.0.1:2379\n")
	n.LinkFile("/etc/systemd/system/multi-user.target.wants/etcd@n1.service", "/usr/lib/systemd/system/etcd@.service")
	for _, file := range []string{"/pki/n1.crt", "/pki/Node-1.key", "/data/0123456789abcdef/member/snap/db"} {
		n.WriteFile(file, "")
	}
	l := DiscoverNode(n.Root, Options{})
	expectInspected(t, l)
	expectCertificates(t, l, "etcd etcd-server Pair /pki/n1.crt /pki/Node-1.key")
	if len(l.Node.Components) != 1 || l.Node.Components[0].Unit != "etcd@n1.service" || !slices.Contains(l.Node.Components[0].Args, "--name=Node-1-n1") {
		t.Errorf("components: %+v", l.Node.Components)
	}
}

func TestLongUnitLinesAreRead(t *testing.T) {
	line := "ExecStart=/usr/bin/kube-apiserver " + strings.Repeat("--feature-gates=ALongName=true ", 500) + "--last=1"
	got := parseUnit("[Service]\n" + line + "\n")
	if len(got) != 1 || !strings.HasSuffix(got[0].value, "--last=1") {
		t.Errorf("a line of %d bytes was cut", len(line))
	}
}

func TestUnitSeconds(t *testing.T) {
	for text, want := range map[string]int64{
		"300": 300, "5min 20s": 320, "1h": 3600, "1.5min": 90, "500ms": 0, "infinity": 0, "": 0, "5 parsecs": 0, "9999999999999d": 86400, "2d": 86400, "20h 20h": 86400, "min": 0,
	} {
		if got := unitSeconds(text); got != want {
			t.Errorf("%q: %d seconds, want %d", text, got, want)
		}
	}
}

// TestEmptyAssignmentResetsAList: as systemd.unit(5) has it, in a drop-in as in the unit itself.
func TestEmptyAssignmentResetsAList(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/old.env", "FROM=old\nOLD=1\n")
	n.WriteFile("/etc/new.env", "FROM=new\n")
	n.WriteFile("/usr/lib/systemd/system/etcd.service", strings.Join([]string{"[Service]",
		"Environment=A=vendor", "EnvironmentFile=/etc/old.env", "WorkingDirectory=/old", "KillMode=process", "TimeoutStopSec=300",
		"LoadCredential=tls:/old.crt", "BindPaths=/old:/pki", "BindReadOnlyPaths=/older:/older",
		"ExecStartPre=/bin/cp /old.crt /x", "ExecStart=/usr/bin/etcd --old", "ExecStartPost=/bin/cat /old.crt"}, "\n"))
	n.WriteFile("/etc/systemd/system/etcd.service.d/10-reset.conf", strings.Join([]string{"[Service]",
		"Environment=", "EnvironmentFile=", "EnvironmentFile=/etc/new.env", "WorkingDirectory=", "KillMode=", "TimeoutStopSec=",
		"LoadCredential=", "BindReadOnlyPaths=", "ExecStartPre=", "ExecStart=", "ExecStart=/usr/bin/etcd --new", "ExecStartPost="}, "\n"))
	u, ok := loadUnit(n.Root, "etcd.service")
	if !ok {
		t.Fatal("the unit was not found")
	}
	if got := u.expandedCommands(); len(got) != 1 || !slices.Equal(got[0], []string{"/usr/bin/etcd", "--new"}) {
		t.Errorf("commands = %q", got)
	}
	if got := u.expand(u.commandsBeside()); len(got) > 0 {
		t.Errorf("commands beside it = %q", got)
	}
	if len(u.env) != 1 || u.env["FROM"] != "new" {
		t.Errorf("variables %v", u.env)
	}
	if len(u.credentials)+len(u.mounts) > 0 || u.workDir != "" || u.killMode != "" || u.grace != 0 {
		t.Errorf("unit %+v", u)
	}
}

// TestResetOfOneListKeepsTheOther: ExecStartPre= does not reset ExecStartPost=.
func TestResetOfOneListKeepsTheOther(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/etcd.service", "[Service]\nExecStartPre=/bin/a\nExecStart=/usr/bin/etcd --x\nExecStartPost=/bin/b\nExecStartPre=\nExecStartPre=/bin/c\n")
	u, _ := loadUnit(n.Root, "etcd.service")
	if got := u.commandsBeside(); !slices.Equal(got, []string{"/bin/c", "/bin/b"}) {
		t.Errorf("commands beside it = %q", got)
	}
}

// TestDropInsOfAPrefix: systemd.unit(5) has "kube-.service.d" for every unit of that prefix, and
// "service.d" for every service.
func TestDropInsOfAPrefix(t *testing.T) {
	n := layouttest.NewNode(t)
	n.WriteFile("/etc/systemd/system/kube-apiserver.service", "[Service]\nEnvironment=A=unit B=unit C=unit D=unit\nExecStart=/usr/bin/kube-apiserver $ARGS\n")
	n.WriteFile("/etc/systemd/system/kube-.service.d/10-a.conf", "[Service]\nEnvironment=B=prefix ARGS=--x=1\n")
	n.WriteFile("/etc/systemd/system/service.d/10-all.conf", "[Service]\nEnvironment=C=all\n")
	// Of equal names the more specific directory wins.
	n.WriteFile("/etc/systemd/system/service.d/20-d.conf", "[Service]\nEnvironment=D=all\n")
	n.WriteFile("/etc/systemd/system/kube-.service.d/20-d.conf", "[Service]\nEnvironment=D=prefix\n")
	u, _ := loadUnit(n.Root, "kube-apiserver.service")
	for name, want := range map[string]string{"A": "unit", "B": "prefix", "C": "all", "D": "prefix", "ARGS": "--x=1"} {
		if u.env[name] != want {
			t.Errorf("%s = %q, want %q", name, u.env[name], want)
		}
	}
}

// TestCommandsOfAUnit: the prefixes, separators and specifiers of systemd.service(5) and
// systemd.unit(5).
func TestCommandsOfAUnit(t *testing.T) {
	for line, want := range map[string][][]string{
		"/bin/a --x=1 ; /bin/b \\; --y": {{"/bin/a", "--x=1"}, {"/bin/b", ";", "--y"}},
		"/bin/a ';' x":                  {{"/bin/a", ";", "x"}},
		"@/usr/bin/etcd shown --name=m": {{"/usr/bin/etcd", "--name=m"}},
		"-:/bin/a $ARGS":                {{"/bin/a", "$ARGS"}},
		"+/bin/a $ARGS":                 {{"/bin/a", "--z=1"}},
		"/bin/a --x=%S/etcd --y=%E/%I --z=%t/s --w=%d/tls --h=%h": {{"/bin/a", "--x=/var/lib/etcd", "--y=/etc/a/b-c", "--z=/run/s",
			"--w=/run/credentials/x@a-b\\x2dc.service/tls", "--h=/root"}},
	} {
		n := layouttest.NewNode(t)
		n.WriteFile("/etc/systemd/system/x@.service", "[Service]\nEnvironment=ARGS=--z=1\nExecStart="+line+"\n")
		u, ok := loadUnit(n.Root, "x@a-b\\x2dc.service")
		if !ok {
			t.Fatal("the unit was not found")
		}
		if got := u.expandedCommands(); !slices.EqualFunc(got, want, slices.Equal) {
			t.Errorf("%s: %q, want %q", line, got, want)
		}
	}
}

func TestDropInNames(t *testing.T) {
	for name, want := range map[string]string{
		"kubelet.service":         "kubelet.service",
		"kube-api-server.service": "kube-api-server.service kube-api-.service kube-.service",
		"etcd@1.service":          "etcd@1.service etcd@.service",
		"kube-a@1.service":        "kube-a@1.service kube-a@.service kube-@1.service kube-@.service",
		"kube-.service":           "kube-.service",
		"docker.socket":           "docker.socket",
	} {
		if got := strings.Join(dropInNames(name), " "); got != want {
			t.Errorf("%s: %s", name, got)
		}
	}
}
