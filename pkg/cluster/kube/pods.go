package kube

import (
	"crypto/sha256"
	"encoding/hex"
	"path"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/rotate-certs/rotate-certs/pkg/nodeapi"
	"github.com/rotate-certs/rotate-certs/pkg/plan"
	"github.com/rotate-certs/rotate-certs/pkg/version"
)

// The labels by which our pods are found.
const (
	LabelName      = "app.kubernetes.io/name"
	LabelComponent = "app.kubernetes.io/component"
	LabelManagedBy = "app.kubernetes.io/managed-by"
	LabelVersion   = "app.kubernetes.io/version"
	LabelRotation  = "rotate-certs.io/rotation" // the rotation's, or the scan's, id

	appName           = "rotate-certs"
	componentScan     = "scan"
	componentRotation = "rotation"
	containerName     = "node"
	nodeProgram       = "/usr/local/bin/rotate-certs-node"

	// hostRoot is where the host's root directory is mounted in a node pod.
	hostRoot = "/host"

	// rotationGrace is how long a deleted rotation pod may take to finish or roll back.
	rotationGrace = 300 * time.Second
	// scanDeadline is how long a pod that only reads may run.
	scanDeadline = 2 * time.Minute
)

// DefaultNamespace is the default namespace of node pods.
const DefaultNamespace = "kube-system"

// PodOptions are the options of all node pods.
type PodOptions struct {
	Namespace        string   // empty: [DefaultNamespace]
	Image            string   // empty: the image of this version
	ImagePullSecrets []string // names of Secrets in the namespace
}

func (o PodOptions) podNamespace() string {
	if o.Namespace == "" {
		return DefaultNamespace
	}
	return o.Namespace
}

func (o PodOptions) nodeImage() string {
	if o.Image == "" {
		return version.NodeImage()
	}
	return o.Image
}

// ScanPod is the pod that scans a node and changes nothing: all mounts are read-only, and its
// only capability is to read every file.
//
// It requests no resources and has no priority: a critical pod would make the kubelet of a
// full node evict workloads.
func ScanPod(node, scan string, o PodOptions) *corev1.Pod {
	pod := nodePod(componentScan, node, scan, o)
	pod.Spec.RestartPolicy = corev1.RestartPolicyNever
	pod.Spec.ActiveDeadlineSeconds = inSeconds(scanDeadline)
	pod.Spec.TerminationGracePeriodSeconds = inSeconds(0)
	c := &pod.Spec.Containers[0]
	c.Args = []string{nodeapi.CommandScan, "--root=" + hostRoot, "--node-name=" + node}
	c.SecurityContext.Capabilities.Add = []corev1.Capability{"DAC_READ_SEARCH"}
	return pod
}

// JournalPod is a [ScanPod] that reads a node's journal of one rotation.
func JournalPod(node, scan, rotation string, o PodOptions) *corev1.Pod {
	pod := ScanPod(node, scan, o)
	pod.Spec.Containers[0].Args = []string{nodeapi.CommandJournal, "--root=" + hostRoot, "--node-name=" + node, "--rotation=" + rotation}
	return pod
}

// RotatePod is the pod that carries out a step on its node. It can write the step's directories
// and the state directory of the host, and nothing else.
//
// The sockets of the container runtime, of D-Bus and of Docker need no mount of their own:
// connecting needs write permission on the socket, not a writable mount, so the read-only mount
// of the host is enough. A hostPath of type Socket would pin an inode, and break as soon as
// containerd, dbus-daemon or dockerd restarts and creates its socket again.
//
// CHOWN, DAC_OVERRIDE and FOWNER suffice to give a new file the owner, mode, ACL and
// SELinux label of the old one: setting a label requires ownership of the file (or FOWNER) and
// a domain that the policy permits it to, which spc_t is.
//
// It is node-critical, since a node under pressure must not kill it in mid-commit, and requests
// no resources, so that its priority evicts no workload.
func RotatePod(step plan.Step, rotation string, o PodOptions) *corev1.Pod {
	pod := nodePod(componentRotation, step.Node, rotation, o)
	pod.Spec.PriorityClassName = "system-node-critical"
	// The process resumes from its journal when it is restarted.
	pod.Spec.RestartPolicy = corev1.RestartPolicyOnFailure
	pod.Spec.ActiveDeadlineSeconds = inSeconds(rotationDeadline(step))
	pod.Spec.TerminationGracePeriodSeconds = inSeconds(rotationGrace)
	c := &pod.Spec.Containers[0]
	c.Args = []string{nodeapi.CommandRun, "--root=" + hostRoot, "--node-name=" + step.Node, "--rotation=" + rotation}
	c.SecurityContext.Capabilities.Add = []corev1.Capability{"CHOWN", "DAC_OVERRIDE", "FOWNER"}
	if step.DBusSocket != "" {
		// AppArmor's default profile for containers denies D-Bus.
		c.SecurityContext.AppArmorProfile = &corev1.AppArmorProfile{Type: corev1.AppArmorProfileTypeUnconfined}
	}
	mountWritable(pod, nodeapi.StateDirectory, corev1.HostPathDirectoryOrCreate)
	for _, dir := range outermostDirectories(step.Directories) {
		mountWritable(pod, dir, corev1.HostPathDirectory)
	}
	return pod
}

// rotationDeadline is how long the pod of a step may live. It ends a process that hangs: one that
// receives no order ends earlier.
func rotationDeadline(step plan.Step) time.Duration {
	return min(max(time.Duration(step.LifetimeSeconds)*time.Second, 30*time.Minute), 24*time.Hour)
}

// nodePod is the common part of both kinds of pods.
func nodePod(component, node, id string, o PodOptions) *corev1.Pod {
	no := false
	yes := true
	root := int64(0)
	readOnly := corev1.RecursiveReadOnlyIfPossible
	directory := corev1.HostPathDirectory
	pod := &corev1.Pod{
		TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{
			Name:      podName(component, node, id),
			Namespace: o.podNamespace(),
			Labels: map[string]string{
				LabelName:      appName,
				LabelComponent: component,
				LabelManagedBy: appName,
				LabelVersion:   labelValue(version.Version),
				LabelRotation:  id,
			},
		},
		Spec: corev1.PodSpec{
			// Pinned, past the scheduler: it works while the scheduler is down, and on
			// cordoned and tainted nodes.
			NodeName:    node,
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			// etcd, controller manager and scheduler listen on the node's 127.0.0.1 only.
			HostNetwork:                  true,
			DNSPolicy:                    corev1.DNSDefault,
			AutomountServiceAccountToken: &no,
			EnableServiceLinks:           &no,
			SecurityContext: &corev1.PodSecurityContext{
				RunAsUser:      &root,
				RunAsGroup:     &root,
				SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				// Where SELinux enforces, container_t may read none of the host's
				// certificates. Ignored where there is no SELinux.
				SELinuxOptions: &corev1.SELinuxOptions{Type: "spc_t"},
			},
			Containers: []corev1.Container{{
				Name:            containerName,
				Image:           o.nodeImage(),
				ImagePullPolicy: corev1.PullIfNotPresent,
				Command:         []string{nodeProgram},
				// An explicit zero keeps a LimitRange from setting more.
				Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{
					corev1.ResourceCPU: resource.MustParse("0"), corev1.ResourceMemory: resource.MustParse("0"),
				}},
				TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
				SecurityContext: &corev1.SecurityContext{
					AllowPrivilegeEscalation: &no,
					ReadOnlyRootFilesystem:   &yes,
					Capabilities:             &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
				},
				VolumeMounts: []corev1.VolumeMount{{
					Name: "host", MountPath: hostRoot, ReadOnly: true, RecursiveReadOnly: &readOnly,
				}},
			}},
			Volumes: []corev1.Volume{{Name: "host", VolumeSource: corev1.VolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: "/", Type: &directory},
			}}},
		},
	}
	for _, name := range o.ImagePullSecrets {
		pod.Spec.ImagePullSecrets = append(pod.Spec.ImagePullSecrets, corev1.LocalObjectReference{Name: name})
	}
	return pod
}

// mountWritable mounts a host directory over its read-only view. The directory must
// be free of symlinks: a mount point below one would lie elsewhere in the container.
func mountWritable(pod *corev1.Pod, dir string, kind corev1.HostPathType) {
	name := "writable-" + shortHash(dir)
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{
		HostPath: &corev1.HostPathVolumeSource{Path: dir, Type: &kind},
	}})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: path.Join(hostRoot, dir)})
}

// outermostDirectories cleans and sorts directories and drops those that lie within another one
// or within the state directory: they are writable with it, and a second mount would
// only hide changes of the first.
func outermostDirectories(dirs []string) []string {
	var out []string
	for _, dir := range dirs {
		out = append(out, path.Clean("/"+dir))
	}
	slices.Sort(out)
	out = slices.Compact(out)
	all := append(slices.Clone(out), nodeapi.StateDirectory)
	return slices.DeleteFunc(out, func(dir string) bool {
		return slices.ContainsFunc(all, func(other string) bool {
			return dir == nodeapi.StateDirectory || (dir != other && strings.HasPrefix(dir, strings.TrimSuffix(other, "/")+"/"))
		})
	})
}

// podName names the pod of a node in a rotation: always the same one, valid as a host
// name too, and distinguished from others by the hash where names are cut or alike.
func podName(component, node, id string) string {
	prefix := appName + "-" + component + "-"
	readable := strings.ReplaceAll(node, ".", "-")
	readable = readable[:min(len(readable), 63-len(prefix)-9)]
	return prefix + strings.Trim(readable, "-") + "-" + shortHash(node+"\x00"+id)
}

// shortHash is a short name for something long: 8 hex digits.
func shortHash(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:4])
}

// labelValue replaces characters that a label value may not hold ("v1.2.3+build").
func labelValue(s string) string {
	clean := strings.Map(func(r rune) rune {
		switch {
		case r >= 'a' && r <= 'z', r >= 'A' && r <= 'Z', r >= '0' && r <= '9', r == '.', r == '-', r == '_':
			return r
		}
		return '-'
	}, s)
	return strings.Trim(clean[:min(len(clean), 63)], "-_.")
}

func inSeconds(d time.Duration) *int64 {
	s := int64(d / time.Second)
	return &s
}
