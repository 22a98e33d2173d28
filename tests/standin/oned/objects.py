"""Objects as they stand in the pools: kinds, and their bodies.

Element order and names are the recorded ones.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

from onecore.template import Template, cdata, escape

EMPTY_QUOTAS = (
    "<DATASTORE_QUOTA></DATASTORE_QUOTA><NETWORK_QUOTA></NETWORK_QUOTA>"
    "<VM_QUOTA></VM_QUOTA><IMAGE_QUOTA></IMAGE_QUOTA>"
)


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of object.

    :ivar call: its part in method names, ``one.<call>.info`` and ``one.<call>pool.info``.
    :ivar title: what messages call it.
    :ivar filtered: whether the pool's listing takes owner and range.
    """

    call: str
    tag: str
    pool_tag: str
    table: str
    title: str
    filtered: bool = True


KINDS = {
    kind.call: kind
    for kind in (
        Kind("acl", "ACL", "ACL_POOL", "acl", "ACL", filtered=False),
        Kind("backupjob", "BACKUPJOB", "BACKUPJOB_POOL", "backupjob_pool", "backup job"),
        Kind("cluster", "CLUSTER", "CLUSTER_POOL", "cluster_pool", "cluster", filtered=False),
        Kind(
            "datastore",
            "DATASTORE",
            "DATASTORE_POOL",
            "datastore_pool",
            "datastore",
            filtered=False,
        ),
        Kind("document", "DOCUMENT", "DOCUMENT_POOL", "document_pool", "document"),
        Kind("group", "GROUP", "GROUP_POOL", "group_pool", "group", filtered=False),
        Kind("hook", "HOOK", "HOOK_POOL", "hook_pool", "hook"),
        Kind("host", "HOST", "HOST_POOL", "host_pool", "host", filtered=False),
        Kind("image", "IMAGE", "IMAGE_POOL", "image_pool", "image"),
        Kind(
            "market",
            "MARKETPLACE",
            "MARKETPLACE_POOL",
            "marketplace_pool",
            "marketplace",
            filtered=False,
        ),
        Kind(
            "marketapp",
            "MARKETPLACEAPP",
            "MARKETPLACEAPP_POOL",
            "marketplaceapp_pool",
            "marketplaceapp",
        ),
        Kind(
            "secgroup", "SECURITY_GROUP", "SECURITY_GROUP_POOL", "secgroup_pool", "security group"
        ),
        Kind(
            "template", "VMTEMPLATE", "VMTEMPLATE_POOL", "template_pool", "virtual machine template"
        ),
        Kind("user", "USER", "USER_POOL", "user_pool", "user", filtered=False),
        Kind("vdc", "VDC", "VDC_POOL", "vdc_pool", "VDC", filtered=False),
        Kind("vm", "VM", "VM_POOL", "vm_pool", "virtual machine"),
        Kind("vmgroup", "VM_GROUP", "VM_GROUP_POOL", "vmgroup_pool", "vm group"),
        Kind("vn", "VNET", "VNET_POOL", "network_pool", "virtual network"),
        Kind(
            "vntemplate",
            "VNTEMPLATE",
            "VNTEMPLATE_POOL",
            "vn_template_pool",
            "virtual network template",
        ),
        Kind("vrouter", "VROUTER", "VROUTER_POOL", "vrouter_pool", "virtual router"),
        Kind("zone", "ZONE", "ZONE_POOL", "zone_pool", "zone", filtered=False),
    )
}


@dataclass(frozen=True, slots=True)
class Owner:
    """Who an object belongs to."""

    uid: int
    gid: int
    uname: str
    gname: str


ONEADMIN = Owner(0, 0, "oneadmin", "oneadmin")

_PERMISSIONS = (
    "<PERMISSIONS><OWNER_U>1</OWNER_U><OWNER_M>1</OWNER_M><OWNER_A>0</OWNER_A>"
    "<GROUP_U>0</GROUP_U><GROUP_M>0</GROUP_M><GROUP_A>0</GROUP_A>"
    "<OTHER_U>0</OTHER_U><OTHER_M>0</OTHER_M><OTHER_A>0</OTHER_A></PERMISSIONS>"
)


def _head(oid: int, owner: Owner, name: str) -> str:
    return (
        f"<ID>{oid}</ID><UID>{owner.uid}</UID><GID>{owner.gid}</GID>"
        f"<UNAME>{escape(owner.uname)}</UNAME><GNAME>{escape(owner.gname)}</GNAME>"
        f"<NAME>{escape(name)}</NAME>"
    )


def document(oid: int, owner: Owner, name: str, kind: int, template: Template) -> str:
    """Body of a document of type *kind*."""
    return (
        f"<DOCUMENT>{_head(oid, owner, name)}<TYPE>{kind}</TYPE>{_PERMISSIONS}"
        f"{template.to_xml()}</DOCUMENT>"
    )


def vm_template(oid: int, owner: Owner, name: str, template: Template) -> str:
    """Body of a virtual machine template."""
    return (
        f"<VMTEMPLATE>{_head(oid, owner, name)}{_PERMISSIONS}"
        f"<REGTIME>{int(time.time())}</REGTIME>{template.to_xml()}</VMTEMPLATE>"
    )


def host(oid: int, name: str, im_mad: str, vm_mad: str, cluster: tuple[int, str]) -> str:
    """Body of a host that has not been monitored yet."""
    template = Template([("RESERVED_CPU", ""), ("RESERVED_MEM", "")])
    return (
        f"<HOST><ID>{oid}</ID><NAME>{escape(name)}</NAME><STATE>0</STATE><PREV_STATE>0</PREV_STATE>"
        f"<IM_MAD>{cdata(im_mad)}</IM_MAD><VM_MAD>{cdata(vm_mad)}</VM_MAD>"
        f"<CLUSTER_ID>{cluster[0]}</CLUSTER_ID><CLUSTER>{escape(cluster[1])}</CLUSTER>"
        "<HOST_SHARE><MEM_USAGE>0</MEM_USAGE><CPU_USAGE>0</CPU_USAGE><TOTAL_MEM>0</TOTAL_MEM>"
        "<TOTAL_CPU>0</TOTAL_CPU><MAX_MEM>0</MAX_MEM><MAX_CPU>0</MAX_CPU>"
        "<RUNNING_VMS>0</RUNNING_VMS><VMS_THREAD>1</VMS_THREAD><DATASTORES></DATASTORES>"
        "<PCI_DEVICES></PCI_DEVICES><NUMA_NODES></NUMA_NODES></HOST_SHARE><VMS></VMS>"
        f"{template.to_xml()}</HOST>"
    )


def plain(
    tag: str, oid: int, owner: Owner, name: str, template: Template, *, middle: str = ""
) -> str:
    """Body of an object that is a name and a template.

    :param middle: elements of its kind's own.
    """
    return f"<{tag}>{_head(oid, owner, name)}{_PERMISSIONS}{middle}{template.to_xml()}</{tag}>"


def cluster(oid: int, name: str) -> str:
    """Body of a cluster with nothing in it."""
    template = Template([("RESERVED_CPU", ""), ("RESERVED_MEM", "")])
    return (
        f"<CLUSTER><ID>{oid}</ID><NAME>{escape(name)}</NAME><HOSTS></HOSTS>"
        f"<DATASTORES></DATASTORES><VNETS></VNETS>{template.to_xml()}</CLUSTER>"
    )


def machine(
    oid: int, owner: Owner, name: str, state: int, templates: tuple[Template, Template]
) -> str:
    """Body of a virtual machine.

    :param templates: what it is made of, and what its user notes of it.
    """
    return (
        f"<VM>{_head(oid, owner, name)}{_PERMISSIONS}<LAST_POLL>0</LAST_POLL>"
        f"<STATE>{state}</STATE><LCM_STATE>0</LCM_STATE><PREV_STATE>{state}</PREV_STATE>"
        f"<PREV_LCM_STATE>0</PREV_LCM_STATE><RESCHED>0</RESCHED><STIME>{int(time.time())}</STIME>"
        f"<ETIME>0</ETIME><DEPLOY_ID></DEPLOY_ID>{templates[0].to_xml()}"
        f"{templates[1].to_xml('USER_TEMPLATE')}</VM>"
    )


def history(vid: int, host: int, hostname: str, stime: int, *, planned: bool) -> str:
    """Body of a machine's first history record.

    :param planned: with what 7.0 notes of the plan that deployed it.
    """
    plan = "<PLAN_ID>-1</PLAN_ID><ACTION_ID>-1</ACTION_ID>" if planned else ""
    return (
        f"<HISTORY><OID>{vid}</OID><SEQ>0</SEQ><HOSTNAME>{escape(hostname)}</HOSTNAME>"
        f"<HID>{host}</HID><CID>0</CID><STIME>{stime}</STIME><ETIME>0</ETIME>"
        f"<VM_MAD>{cdata('dummy')}</VM_MAD><TM_MAD>{cdata('dummy')}</TM_MAD><DS_ID>0</DS_ID>"
        f"<PSTIME>{stime}</PSTIME><PETIME>{stime}</PETIME><RSTIME>{stime}</RSTIME>"
        "<RETIME>0</RETIME><ESTIME>0</ESTIME><EETIME>0</EETIME><ACTION>0</ACTION><UID>-1</UID>"
        f"<GID>-1</GID><REQUEST_ID>-1</REQUEST_ID>{plan}</HISTORY>"
    )


def digest(password: str) -> str:
    """A password as it stands in ``user_pool`` (driver core)."""
    return hashlib.sha256(password.encode()).hexdigest()


def user(oid: int, name: str, password: str, driver: str, group: tuple[int, str]) -> str:
    """Body of a user.

    :param password: as stored, that is, hashed for driver core.
    """
    token = digest(secrets.token_hex(16))
    template = Template([("TOKEN_PASSWORD", token)])
    return (
        f"<USER><ID>{oid}</ID><GID>{group[0]}</GID><GROUPS><ID>{group[0]}</ID></GROUPS>"
        f"<GNAME>{escape(group[1])}</GNAME><NAME>{escape(name)}</NAME>"
        f"<PASSWORD>{cdata(password)}</PASSWORD><AUTH_DRIVER>{cdata(driver)}</AUTH_DRIVER>"
        f"<ENABLED>1</ENABLED>{template.to_xml()}</USER>"
    )


def group(oid: int, name: str, users: list[int]) -> str:
    """Body of a group."""
    members = "".join(f"<ID>{one}</ID>" for one in users)
    return (
        f"<GROUP><ID>{oid}</ID><NAME>{escape(name)}</NAME><TEMPLATE></TEMPLATE>"
        f"<USERS>{members}</USERS><ADMINS></ADMINS></GROUP>"
    )


def quotas(oid: int) -> str:
    """Body of a row of ``user_quotas`` or ``group_quotas``."""
    return f"<QUOTAS><ID>{oid}</ID>{EMPTY_QUOTAS}</QUOTAS>"


def default_quotas(tag: str) -> str:
    """Body of a default quota attribute."""
    return f"<{tag}>{EMPTY_QUOTAS}</{tag}>"


@dataclass(slots=True)
class Zone:
    """A zone and its servers, ordered as they were added."""

    oid: int
    name: str
    state: int
    template: Template
    servers: list[dict[str, str]]

    @classmethod
    def parse(cls, body: str) -> Zone:
        """Read a body from ``zone_pool``."""
        from xml.etree import ElementTree

        root = ElementTree.fromstring(body)
        template = root.find("TEMPLATE")
        pool = root.find("SERVER_POOL")
        return cls(
            oid=int(root.findtext("ID", "-1")),
            name=root.findtext("NAME", ""),
            state=int(root.findtext("STATE", "0")),
            template=Template() if template is None else Template.from_element(template),
            servers=[]
            if pool is None
            else [{leaf.tag: leaf.text or "" for leaf in server} for server in pool],
        )

    def to_xml(self) -> str:
        """The body."""
        pool = Template([("SERVER", dict(server)) for server in self.servers])
        return (
            f"<ZONE><ID>{self.oid}</ID><NAME>{escape(self.name)}</NAME>"
            f"<STATE>{self.state}</STATE>{self.template.to_xml()}"
            f"{pool.to_xml('SERVER_POOL')}</ZONE>"
        )

    def endpoints(self) -> dict[int, str]:
        """Endpoint of each server by id."""
        return {int(one["ID"]): one.get("ENDPOINT", "") for one in self.servers if "ID" in one}

    def next_server_id(self) -> int:
        """Id the next server gets: one above the highest in the list now."""
        return max(self.endpoints(), default=-1) + 1


def splice_template(body: str, template: Template, tag: str = "TEMPLATE") -> str:
    """*body* with its TEMPLATE, or the template called *tag*, replaced."""
    start, end = _span(body, tag)
    return body[:start] + template.to_xml(tag) + body[end:]


def template_of(body: str, tag: str = "TEMPLATE") -> Template:
    """The TEMPLATE of *body*, or the template called *tag*."""
    start, end = _span(body, tag)
    return Template.parse(body[start:end])


def _span(body: str, tag: str) -> tuple[int, int]:
    closing = f"</{tag}>"
    return body.index(f"<{tag}>"), body.rindex(closing) + len(closing)


def element(body: str, tag: str) -> str:
    """Text of the first element called *tag*, empty if there is none."""
    start = body.find(f"<{tag}>")
    if start < 0:
        return ""
    inner = body[start + len(tag) + 2 : body.index(f"</{tag}>", start)]
    if inner.startswith("<![CDATA["):
        return inner[9:-3]
    return inner.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")


def with_element(body: str, tag: str, inner: str) -> str:
    """*body* with the first element called *tag* holding *inner*, given as XML."""
    start = body.index(f"<{tag}>") + len(tag) + 2
    return body[:start] + inner + body[body.index(f"</{tag}>", start) :]
